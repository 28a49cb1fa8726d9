"""What is never touched: what we stand on, however a container that runs it may be called."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from agents import actions, protection
from incidents.models import Target

pytestmark = pytest.mark.django_db
STATE = actions.TargetState("f" * 64, "image-1", "running", {}, None, None, None)


def why(name: str, **facts: Any) -> str | None:
    target = Target.objects.create(
        key=f"docker:docker2/{name}", kind="docker", host="docker2", name=name, facts=facts
    )
    return protection.reason(target, replace(STATE, labels=facts.get("labels", {})))


def of_service(service: str, project: str = "stack") -> dict[str, str]:
    return {protection.LABEL_SERVICE: service, protection.LABEL_PROJECT: project}


@pytest.mark.parametrize(
    ("name", "service", "setting", "url"),
    [
        ("homelab-redis-1", "redis", "REDIS_URL", "redis://redis:6379/0"),
        ("homelab-broker-1", "broker", "REDIS_URL", "redis://Broker:6379/0"),
        ("my_prom", "prom", "PROMETHEUS_URL", "http://prom:8428"),
        ("p1", "dockerproxy", "DOCKER_HOSTS", {"docker2": "tcp://dockerproxy:2375"}),
    ],
)
def test_a_server_that_settings_name_by_its_compose_service(
    settings, name: str, service: str, setting: str, url: Any
) -> None:
    setattr(settings, setting, url)
    assert f"is what {setting} points at" in (why(name, labels=of_service(service)) or "")


def test_our_database_by_its_compose_service_and_by_its_name_on_a_network(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", "db")
    assert why("homelab-db-1", labels=of_service("db"))
    assert why("x7", aliases=["db", "172.20.0.3"])
    assert why("y8", aliases=["cache"]) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.1.1", "docker2", "10.9.8.7", "host.docker.internal"])
def test_whatever_publishes_the_port_of_our_server_on_its_machine(settings, host: str) -> None:
    settings.DOCKER_HOSTS = {"docker2": "tcp://10.9.8.7:2375"}
    settings.PROMETHEUS_URL = f"http://{host}:9090"
    assert why("metrics", published_ports=[9090])
    assert why("other", published_ports=[9091]) is None


def test_the_same_port_of_another_machine_is_not_ours(settings) -> None:
    settings.PROMETHEUS_URL = "http://192.0.2.9:9090"
    assert why("metrics", published_ports=[9090]) is None


def test_what_our_own_compose_project_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "0123456789ab"
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    assert why("me", id=own + "c" * 52, labels=of_service("crew"))
    assert "own compose project" in (why("helper", labels=of_service("helper")) or "")
    assert why("neighbour", labels=of_service("helper", project="media")) is None


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("homelab-homelab-1", "homelab-homelab"),
        ("names", "technitium/dns-server:latest"),
        ("edge", "docker.io/lucaslorentz/caddy-docker-proxy:2"),
        ("a", "registry:5000/traefik:v3@sha256:00"),
        ("monitoring-prometheus-1", "x"),
    ],
)
def test_programs_by_their_image(name: str, image: str) -> None:
    assert why(name, image=image)


@pytest.mark.parametrize(
    "image", ["prom/node-exporter", "quay.io/prometheus/node-exporter:v1", "traefik/whoami", "postgres:16"]
)
def test_what_only_sounds_like_one_is_not_protected(image: str) -> None:
    assert why("thing", image=image) is None


def test_the_owner_need_not_mind_upper_and_lower_case(settings) -> None:
    settings.PROTECTED_TARGETS = ("Vaultwarden*",)
    assert why("vaultWarden-1")
