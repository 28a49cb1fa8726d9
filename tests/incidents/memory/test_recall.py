"""Which past incidents come back, in which order, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from incidents.memory import EmbeddingError, Recalled, recall, remember, sync
from incidents.memory.recall import _proven
from incidents.models import Incident, MemoryEntry
from tests.incidents.memory.conftest import MakeIncident

pytestmark = pytest.mark.django_db


def learn(*incidents: Incident) -> None:
    for incident in incidents:
        assert sync(remember(incident).pk)


@pytest.fixture
def house(make_incident: MakeIncident) -> dict[str, Incident]:
    """A few quite different troubles."""
    incidents = {
        "disk": make_incident("DiskFull", "The filesystem of nas is almost full"),
        "cert": make_incident("CertificateExpires", "The TLS certificate of the proxy expires soon"),
        "crash": make_incident("ContainerCrashLooping", "jellyfin restarts again and again, exit code 137"),
        "temp": make_incident("HostTooHot", "The temperature of the CPU is above 90 degrees", kind="host"),
        "dns": make_incident("DnsDown", "The resolver does not answer queries"),
    }
    learn(*incidents.values())
    return incidents


def ids(found: list[Recalled]) -> list[int]:
    return [each.incident_id for each in found]


def test_it_finds_by_meaning(house: dict[str, Incident]) -> None:
    assert recall("no space left on the nas")[0].incident_id == house["disk"].pk


def test_it_finds_by_words(house: dict[str, Incident]) -> None:
    assert recall("immich exited with code 137")[0].incident_id == house["crash"].pk


def test_it_abstains_when_nothing_is_like_it(house: dict[str, Incident]) -> None:
    assert recall("Kafka consumer group lag of topic orders grows") == []
    assert recall("") == []


def test_an_empty_memory_has_nothing_to_say() -> None:
    assert recall("anything") == []


def test_the_incident_itself_is_left_out(house: dict[str, Incident]) -> None:
    found = recall("The filesystem of nas is almost full", exclude_incident=house["disk"].pk)
    assert house["disk"].pk not in ids(found)


def test_it_says_why(make_incident: MakeIncident) -> None:
    incident = make_incident("DiskFull", "nas is full", days=3.1, verdict="verified", human_cause="snapshots")
    learn(incident)
    (found,) = recall("DiskFull nas is full", alert_name="DiskFull", target_kind="docker")
    assert found.why == (
        "same alert",
        "same kind of target",
        "a person said the cause",
        "verified",
        "3 days ago",
    )
    assert found.payload["root_cause"] == "snapshots"
    assert 0.9 < found.score <= 1


@pytest.mark.parametrize(
    "better",
    [{"human_cause": "nas is full"}, {"verdict": "verified"}, {"verdict": "resolved_by_human"}, {"days": 1}],
)
def test_of_twins_the_better_proven_or_newer_comes_first(
    make_incident: MakeIncident, better: dict[str, object]
) -> None:
    plain = [make_incident("DiskFull", "nas is full", days=60) for _ in range(3)]
    best = make_incident("DiskFull", "nas is full", **({"days": 60} | better))
    plain.append(make_incident("DiskFull", "nas is full", days=60))
    learn(*plain, best)
    assert recall("nas is full")[0].incident_id == best.pk


def test_a_hundred_twins_do_not_crowd_out_the_confirmed_one(make_incident: MakeIncident) -> None:
    confirmed = make_incident("DiskFull", "nas is full", days=100, human_cause="snapshots of the old backup")
    learn(confirmed, *(make_incident("DiskFull", "nas is full") for _ in range(120)))
    found = recall("DiskFull nas is full", alert_name="DiskFull")
    assert confirmed.pk in ids(found)


def test_of_an_alert_that_came_very_often_only_the_latest_are_looked_through(
    make_incident: MakeIncident, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["incidents.memory.recall"], "LATEST_OF_ALERT", 2)
    for days in (3, 2, 1):
        remember(make_incident("DiskFull", "nas is full", days=days, human_cause="snapshots"))
    found = _proven("DiskFull")
    newest = MemoryEntry.objects.order_by("-happened_at").values_list("pk", flat=True)
    assert found == set(newest[:2])
    if connection.vendor == "sqlite":
        plan = MemoryEntry.objects.filter(title="DiskFull").order_by("-happened_at")[:2].explain()
        assert "memory_by_title (title=?)" in plan
        assert "TEMP B-TREE" not in plan  # it is read in order, and no further than it is wanted
        changed = MemoryEntry.objects.filter(updated_at__gt=timezone.now()).explain()
        assert "memory_by_change" in changed


def test_a_bonus_does_not_lift_what_is_unlike(
    house: dict[str, Incident], make_incident: MakeIncident
) -> None:
    other = make_incident("RaidDegraded", "md0 lost a member", verdict="verified", human_cause="a dead disk")
    learn(other)
    assert recall("The TLS certificate of the proxy expires")[0].incident_id == house["cert"].pk


def test_the_limit_is_kept(make_incident: MakeIncident) -> None:
    learn(*(make_incident("DiskFull", f"nas{number} is full") for number in range(5)))
    assert len(recall("DiskFull nas is full")) == 3
    assert len(recall("DiskFull nas is full", limit=1)) == 1


def test_without_an_embedding_words_still_answer(
    house: dict[str, Incident], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, texts: list[str]) -> None:
        raise EmbeddingError("the model is away", retryable=True)

    monkeypatch.setattr("incidents.memory.embed.MiniLM.embed", fail)
    found = recall("The filesystem of nas is almost full")
    assert found[0].incident_id == house["disk"].pk
    assert found[0].dense is None
    assert any("words alone" in reason for reason in found[0].why)


def test_starting_django_imports_neither_the_store_nor_the_model() -> None:
    program = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import incidents.memory; "
        "print([name for name in ('qdrant_client', 'onnxruntime', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux lists them")
def test_numpy_has_one_thread() -> None:
    program = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import numpy; numpy.ones((500, 500)) @ numpy.ones((500, 500)); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: each for name, each in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "1", done.stderr


def an_imported(make_incident: MakeIncident) -> int:
    """An entry of another memory that says the same as the incident made here."""
    twin = make_incident("DiskFull", "nas is full", days=60)
    entry = remember(twin)
    entry.kind, entry.key, entry.incident = MemoryEntry.Kind.IMPORTED, f"agent_memory:{twin.pk}", None
    entry.save()
    assert sync(entry.pk)
    return entry.pk


def test_what_another_memory_says_comes_after_our_own_and_says_that_nobody_proved_it(
    make_incident: MakeIncident,
) -> None:
    imported = [an_imported(make_incident) for _ in range(2)]
    own = make_incident("DiskFull", "nas is full", days=60)
    learn(own)
    imported.append(an_imported(make_incident))
    first, *others = recall("nas is full", limit=4)
    assert first.incident_id == own.pk
    assert {each.entry_id for each in others} == set(imported)
    assert all(each.incident_id is None for each in others)
    assert all("from an earlier memory, unproven" in each.why for each in others)


def test_a_persons_word_outranks_a_proof(make_incident: MakeIncident) -> None:
    verified = make_incident("DiskFull", "nas is full", days=10, verdict="verified")
    said = make_incident("DiskFull", "nas is full", days=60, human_cause="nas is full")
    learn(said, verified)
    assert recall("nas is full")[0].incident_id == said.pk


def test_a_cause_that_a_person_rated_right_outranks_a_proof(make_incident: MakeIncident) -> None:
    verified = make_incident("DiskFull", "nas is full", days=10, verdict="verified")
    rated = make_incident("DiskFull", "nas is full", days=60, root_cause="snapshots", rating="right")
    learn(verified, rated)
    found = recall("nas is full", alert_name="DiskFull")
    assert ids(found) == [rated.pk, verified.pk]
    assert "a person said the cause" in found[0].why
    assert _proven("DiskFull") == set(MemoryEntry.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("rating", ["wrong", "partly"])
def test_a_cause_that_a_person_rated_not_right_does_not_come_back_as_one(
    make_incident: MakeIncident, rating: str
) -> None:
    learn(make_incident("DiskFull", "nas is full", root_cause="snapshots", rating=rating))
    [found] = recall("nas is full", alert_name="DiskFull")
    assert (found.payload["root_cause"], found.payload["crew_cause"]) == (None, "snapshots")
    assert "a person calls the crew's cause not right" in found.why
