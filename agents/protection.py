"""What is never touched, whoever asks: this program and what it stands on, and what the owner named."""

from __future__ import annotations

import fnmatch
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from agents.actions import TargetState
from incidents.models import Target

# Programs whose restart blinds us, cuts us off, or takes down far more than itself.
PROTECTED_PROGRAMS = {
    "homelab-agents": "this program",
    "homelab-ai-agents": "this program",
    "prometheus": "Prometheus, which proves",
    "alertmanager": "Alertmanager, which tells us",
    "qdrant": "the memory's store",
    "docker-socket-proxy": "the way to the Docker engine",
    "socket-proxy": "the way to the Docker engine",
    "traefik": "a reverse proxy",
    "caddy": "a reverse proxy",
    "nginx-proxy": "a reverse proxy",
    "nginx-proxy-manager": "a reverse proxy",
    "haproxy": "a reverse proxy",
    "swag": "a reverse proxy",
    "cloudflared": "a tunnel into the network",
    "pihole": "a name server",
    "pi-hole": "a name server",
    "adguardhome": "a name server",
    "adguard": "a name server",
    "unbound": "a name server",
    "coredns": "a name server",
    "technitium": "a name server",
    "dnsmasq": "a name server",
    "bind9": "a name server",
    "proxmox": "the hypervisor",
    "pve": "the hypervisor",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULT_PORTS = {
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "rediss": 6379,
    "http": 80,
    "https": 443,
}


def reason(target: Target, state: TargetState) -> str | None:
    """Why this target is protected, in words; None when it is not."""
    return (
        _named_by_owner(target)
        or _is_ourselves(target, state)
        or _is_what_we_stand_on(target)
        or _is_protected_program(target)
    )


def _named_by_owner(target: Target) -> str | None:
    for pattern in settings.PROTECTED_TARGETS:
        if fnmatch.fnmatchcase(target.key, pattern) or fnmatch.fnmatchcase(target.name, pattern):
            return f"{target.key} is in PROTECTED_TARGETS ({pattern})"
    return None


def _is_ourselves(target: Target, state: TargetState) -> str | None:
    """In a container the host name is the container's short id unless somebody set it."""
    own = socket.gethostname()
    if len(own) >= 12 and state.identity.startswith(own):
        return f"{target.key} is this program"
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        mounts = ""
    inside = any(f"/containers/{state.identity}/" in line for line in mounts.splitlines())
    return f"{target.key} is this program" if inside and state.identity else None


def _is_what_we_stand_on(target: Target) -> str | None:
    """The servers our settings name: by the container's name, or by a port that it publishes here."""
    published = {int(port) for port in target.facts.get("published_ports", [])}
    for name, url in _our_servers():
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        by_name = parts.hostname == target.name
        by_port = parts.hostname in LOOPBACK and port in published
        if by_name or by_port:
            return f"{target.key} is what {name} points at"
    return None


def _our_servers() -> Iterator[tuple[str, str]]:
    database = settings.DATABASES["default"]
    if database.get("HOST"):
        yield "DATABASE_URL", f"postgres://{database['HOST']}:{database.get('PORT') or 5432}"
    for name in ("REDIS_URL", "QDRANT_URL", "PROMETHEUS_URL", "ALERTMANAGER_URL", "OPENAI_BASE_URL"):
        if url := getattr(settings, name):
            yield name, url
    for url in settings.DOCKER_HOSTS.values():
        if url.startswith(("tcp://", "http://", "https://")):
            yield "DOCKER_HOSTS", url


def _is_protected_program(target: Target) -> str | None:
    image = str(target.facts.get("image", ""))
    repository = image.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0].lower()
    names = {repository, target.name.lower(), *_service_names(target.name.lower())}
    for program, what in PROTECTED_PROGRAMS.items():
        if program in names:
            return f"{target.key} is {what}"
    return None


def _service_names(name: str) -> set[str]:
    """`monitoring-prometheus-1` is compose's name of the service `prometheus`."""
    found = re.fullmatch(r"[a-z0-9_.]+[-_](?P<service>.+?)[-_]\d+", name)
    return {found["service"]} if found else set()
