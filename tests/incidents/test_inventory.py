"""What an alert is about: the thing that its labels name, on the host that they name, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from incidents import inventory
from incidents.inventory import Described
from incidents.models import Target

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def known() -> None:
    for host, names in {"docker2": ["jellyfin", "cadvisor", "sonarr"], "docker3": []}.items():
        inventory.refresh(
            kind="docker", host=host, things=[Described("docker", host, name) for name in names]
        )


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"container": "jellyfin"}, "docker:docker2/jellyfin"),
        ({"container": "jellyfin", "host": "docker2"}, "docker:docker2/jellyfin"),
        ({"container": "jellyfin", "host": "kubernetes-7"}, "docker:docker2/jellyfin"),
        ({"container": "jellyfin", "host": "docker3"}, None),
        ({"instance": "jellyfin:8096"}, "docker:docker2/jellyfin"),
        ({"instance": "docker3:9100"}, "docker_host:docker3"),
        ({"name": "radarr", "instance": "cadvisor:8080"}, None),
        ({"container": "radarr", "service": "sonarr"}, None),
        ({"alertname": "Down"}, None),
    ],
)
def test_only_what_the_labels_name_is_bound(labels: dict[str, str], key: str | None) -> None:
    target = inventory.bind(labels).target
    assert (target.key if target else None) == key


def test_what_is_gone_does_not_leave_its_alert_to_its_exporter() -> None:
    inventory.refresh(kind="docker", host="docker2", things=[Described("docker", "docker2", "cadvisor")])
    assert inventory.bind({"name": "sonarr", "instance": "cadvisor:8080"}).target is None


def test_a_name_on_two_hosts_is_told_with_its_candidates() -> None:
    inventory.refresh(kind="docker", host="docker3", things=[Described("docker", "docker3", "jellyfin")])
    found = inventory.bind({"container": "jellyfin"})
    assert found.target is None
    assert found.candidates == ("docker:docker2/jellyfin", "docker:docker3/jellyfin")


def test_a_host_is_written_with_a_few_statements_and_what_comes_back_is_the_same_row(
    django_assert_max_num_queries: Any,
) -> None:
    before = Target.objects.get(key="docker:docker2/sonarr")
    inventory.refresh(kind="docker", host="docker2", things=[])
    many = [Described("docker", "docker2", name) for name in ("sonarr", *(f"s{n}" for n in range(60)))]
    with django_assert_max_num_queries(12):
        seen = inventory.refresh(kind="docker", host="docker2", things=many)
    after = Target.objects.get(key="docker:docker2/sonarr")
    assert (after.pk, after.first_seen_at, after.gone_at) == (before.pk, before.first_seen_at, None)
    assert {row.pk for row in seen} == set(
        Target.objects.filter(kind="docker", gone_at=None).values_list("pk", flat=True)
    )
