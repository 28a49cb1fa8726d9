"""What is never touched, whoever asks: this program and what it stands on, and what the owner named."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from agents.actions import TargetState
from incidents.models import Target

# Programs whose restart blinds us, cuts us off, or takes down far more than itself: patterns of the name of a
# container, of its compose service, and of its image with and without who made it.
PROTECTED_PROGRAMS = {
    "homelab": "this program",
    "*[-_]homelab": "this program",  # as compose names an image that it built
    "homelab-agents": "this program",
    "homelab-ai-agents": "this program",
    "prometheus": "Prometheus, which proves",
    "alertmanager": "Alertmanager, which tells us",
    "qdrant": "the memory's store",
    "docker-socket-proxy": "the way to the Docker engine",
    "socket-proxy": "the way to the Docker engine",
    "traefik": "a reverse proxy",
    "caddy": "a reverse proxy",
    "caddy-*proxy*": "a reverse proxy",
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
    "technitium/*": "a name server",
    "dnsmasq": "a name server",
    "bind9": "a name server",
    "proxmox": "the hypervisor",
    "pve": "the hypervisor",
}
THIS_MACHINE = {"localhost", "host.docker.internal", "gateway.docker.internal"}
LABEL_PROJECT = "com.docker.compose.project"
LABEL_SERVICE = "com.docker.compose.service"
# The engine mounts these over a container's own; elsewhere a machine lists the mounts of all its containers.
_OWN_MOUNT = re.compile(r"/containers/([0-9a-f]{64})/\S+ /etc/(?:hosts|hostname|resolv\.conf) ")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")
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
        or _is_beside_us(target, state)
        or _is_what_we_stand_on(target, state)
        or _is_protected_program(target, state)
    )


def _named_by_owner(target: Target) -> str | None:
    for pattern in settings.PROTECTED_TARGETS:
        if any(fnmatch.fnmatchcase(each.lower(), pattern.lower()) for each in (target.key, target.name)):
            return f"{target.key} is in PROTECTED_TARGETS ({pattern})"
    return None


def _labels(target: Target, state: TargetState) -> dict[str, str]:
    return {**target.facts.get("labels", {}), **state.labels}


def _names(target: Target, state: TargetState) -> set[str]:
    """What others may call it: the container's name, its compose service, its names on its networks."""
    service = _labels(target, state).get(LABEL_SERVICE)
    found = {target.name, *target.facts.get("aliases", []), *([service] if service else [])}
    return {name.lower() for name in found}


def _own_ids() -> set[str]:
    """Ids, or beginnings of them, of the container that this runs in; empty when it runs in none.

    In a container the host name is the container's short id unless somebody set it.
    """
    own = socket.gethostname().lower()
    found = {own} if _SHORT_ID.fullmatch(own) else set()
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return found
    return found | set(_OWN_MOUNT.findall(mounts))


def _is_ourselves(target: Target, state: TargetState) -> str | None:
    if any(state.identity.startswith(own) for own in _own_ids()):
        return f"{target.key} is this program"
    return None


def _is_beside_us(target: Target, state: TargetState) -> str | None:
    """What the same compose file brings is there for us, whatever it is called."""
    project = _labels(target, state).get(LABEL_PROJECT)
    if not project:
        return None
    containers = Target.objects.filter(kind="docker", host=target.host, gone_at=None)
    for own in _own_ids():
        mine = containers.filter(facts__id__startswith=own).first()
        if mine is not None and mine.facts.get("labels", {}).get(LABEL_PROJECT) == project:
            return f"{target.key} is of this program's own compose project"
    return None


def _is_what_we_stand_on(target: Target, state: TargetState) -> str | None:
    """The servers our settings name: by a name of the container, or by a port that it publishes here."""
    published = {int(port) for port in target.facts.get("published_ports", [])}
    names = _names(target, state)
    machine = {target.host.lower(), (urlsplit(settings.DOCKER_HOSTS.get(target.host, "")).hostname or "")}
    for name, url in _our_servers():
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        by_port = port in published and (host in machine or _is_this_machine(host))
        if host and (host in names or by_port):
            return f"{target.key} is what {name} points at"
    return None


def _is_this_machine(host: str) -> bool:
    own = socket.gethostname().lower()
    return host in THIS_MACHINE or host.partition(".")[0] == own.partition(".")[0] or _is_own_address(host)


def _is_own_address(host: str) -> bool:
    """Whether an address is one of this machine's: only to those a socket can be bound."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name; asking for its address might take long
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _our_servers() -> Iterator[tuple[str, str]]:
    database = settings.DATABASES["default"]
    if database.get("HOST"):
        # A path is that of a socket, which is on this machine.
        host = "localhost" if str(database["HOST"]).startswith("/") else database["HOST"]
        yield "DATABASE_URL", f"postgres://{host}:{database.get('PORT') or 5432}"
    for name in (
        "REDIS_URL",
        "QDRANT_URL",
        "PROMETHEUS_URL",
        "ALERTMANAGER_URL",
        "OPENAI_BASE_URL",
        "OPENAI_FALLBACK_BASE_URL",
    ):
        if url := getattr(settings, name):
            yield name, url
    for url in settings.DOCKER_HOSTS.values():
        if url.startswith(("tcp://", "http://", "https://")):
            yield "DOCKER_HOSTS", url


def _is_protected_program(target: Target, state: TargetState) -> str | None:
    names = {target.name.lower(), *_service_names(target.name.lower()), *_names(target, state)}
    names |= _image_names(str(target.facts.get("image", "")))
    for program, what in PROTECTED_PROGRAMS.items():
        if any(fnmatch.fnmatchcase(name, program) for name in names):
            return f"{target.key} is {what}"
    return None


def _image_names(image: str) -> set[str]:
    """Of `docker.io/technitium/dns-server:13`: `dns-server` and `technitium/dns-server`."""
    parts = image.lower().split("@", 1)[0].split("/")
    parts[-1] = parts[-1].split(":", 1)[0]
    return {parts[-1], "/".join(parts[-2:])}


def _service_names(name: str) -> set[str]:
    """`monitoring-prometheus-1` is compose's name of the service `prometheus`."""
    found = re.fullmatch(r"[a-z0-9_.]+[-_](?P<service>.+?)[-_]\d+", name)
    return {found["service"]} if found else set()
