"""What is remembered of an incident, and whose word counts."""

from __future__ import annotations

from typing import Any

import pytest

from incidents import services, signals
from incidents.memory import compose, recall, remember, signature, sync
from incidents.memory.embed import MAX_CHARS
from incidents.models import Incident, MemoryEntry, Verdict
from incidents.queue import State
from tests.incidents.memory.conftest import MakeIncident
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
WRONG = "old snapshots"


@pytest.fixture
def incident(make_incident: MakeIncident) -> Incident:
    return make_incident(
        "DiskFull",
        "The root filesystem of nas has 1% left",
        root_cause=WRONG,
        certainty="LIKELY",
        remediation_taken="removed them",
        verdict="verified",
        resolution_seconds=90.0,
    )


def entry_of(incident: Incident) -> MemoryEntry:
    return MemoryEntry.objects.get(incident=incident)


def test_the_text_says_what_is_known_and_nothing_else(incident: Incident) -> None:
    text, payload = compose(incident)
    assert text.splitlines() == [
        "DiskFull",
        "The root filesystem of nas has 1% left",
        "severity: warning",
        "cause: old snapshots",
        "done: removed them",
        "verdict: verified",
    ]
    assert payload["target_kind"] == "docker"
    assert payload["human_confirmed"] is False
    assert payload["resolution_status"] == "resolved"
    assert payload["resolution_time_seconds"] == 90.0
    assert payload["timestamp"].endswith("Z")
    assert payload["signature"] == "DiskFull@docker:host/DiskFull"


def test_a_description_of_megabytes_is_cut_and_leaves_room_for_the_cause(incident: Incident) -> None:
    incident.description = "unit failed at /srv/data/x.log, " * 100_000
    incident.human_cause = "a runaway backup"
    incident.human_note = "look at it " * 10_000
    entry = remember(incident)
    assert len(entry.text) == MAX_CHARS
    assert "cause, a person says: a runaway backup" in entry.text
    assert len(entry.payload["description"]) < MAX_CHARS


@pytest.mark.parametrize(
    ("certainty", "by"), [("CONFIRMED", "readings"), ("LIKELY", "crew"), ("INCONCLUSIVE", "crew")]
)
def test_what_was_read_is_told_apart_from_what_the_crew_thinks(
    incident: Incident, certainty: str, by: str
) -> None:
    incident.certainty = certainty
    assert compose(incident)[1]["cause_by"] == by
    incident.root_cause = None
    assert compose(incident)[1]["cause_by"] is None


def test_a_persons_cause_takes_the_place_of_the_crews_which_is_kept_as_such(incident: Incident) -> None:
    incident.human_cause = "a runaway backup"
    text, payload = compose(incident)
    lines = text.splitlines()
    assert "cause, a person says: a runaway backup" in lines
    assert lines[-1] == "the crew had said, and a person corrected it: old snapshots"
    assert not any(line.startswith("cause: ") for line in lines)
    assert (payload["root_cause"], payload["cause_by"]) == ("a runaway backup", "person")
    assert (payload["crew_cause"], payload["human_confirmed"]) == (WRONG, True)


def test_a_person_who_agrees_corrects_nothing(incident: Incident) -> None:
    incident.human_cause = "Old  snapshots"
    text, payload = compose(incident)
    assert (payload["crew_cause"], payload["cause_by"]) == (None, "person")
    assert "corrected" not in text


def test_what_others_know_of_it_is_remembered_too(incident: Incident) -> None:
    done = {"kind": "restart_container", "what": "restart container docker:h/web", "target": "docker:h/web"}

    def crew(sender: Any, incident: Incident, **_: Any) -> dict[str, Any]:
        return {"actions": [{**done, "outcome": "failed"}], "evidence": ["exit_code: 1"]}

    signals.facts_wanted.connect(crew)
    try:
        text, payload = compose(incident)
    finally:
        signals.facts_wanted.disconnect(crew)
    assert "done: restart container docker:h/web: failed" in text
    assert (payload["actions"][0]["outcome"], payload["evidence"]) == ("failed", ["exit_code: 1"])


def test_without_a_target_the_systems_that_its_alerts_name_are_the_signature() -> None:
    incident = an_incident(Verdict.UNKNOWN, alert_name="HostTooHot")
    an_episode(incident, labels={"instance": "pi:9100"})
    an_episode(incident, labels={"instance": "nas:9100"})
    assert compose(incident)[1]["signature"] == "HostTooHot@nas:9100,pi:9100"
    assert len(signature("X", "a" * 1000)) == 300


def test_a_signature_that_is_cut_inside_a_hidden_secret_fits_its_column() -> None:
    for length in range(130, 146):
        incident = an_incident(Verdict.UNKNOWN, alert_name="A" * 150)
        an_episode(incident, labels={"instance": "b" * length + " password=hunter2secret"})
        entry = remember(incident)
        where = entry.payload["affected_systems"]
        assert entry.signature == entry.payload["signature"] == signature("A" * 150, ",".join(where))
        assert len(entry.signature) <= 300
        assert "hunter2" not in entry.signature


def test_an_annotation_of_a_closed_incident_is_embedded_again_each_time(incident: Incident) -> None:
    sync(remember(incident).pk)
    vectors = [bytes(entry_of(incident).vector or b"")]
    for cause in ("the UPS firmware floods the log", "no: the backup keeps every copy"):
        services.annotate(incident, by="alice", cause=cause)
        assert entry_of(incident).state == State.WAITING
        assert sync(entry_of(incident).pk)
        vectors.append(bytes(entry_of(incident).vector or b""))
    assert len(set(vectors)) == 3
    (found,) = recall("the backup keeps every copy")
    assert found.payload["root_cause"] == "no: the backup keeps every copy"
    assert "UPS firmware" not in found.text
    assert "a person corrected the cause" in found.why


def test_a_false_alarm_is_remembered_as_one(incident: Incident) -> None:
    sync(remember(incident).pk)
    services.annotate(incident, by="alice", verdict=Verdict.FALSE_ALARM)
    assert sync(entry_of(incident).pk)
    (found,) = recall("DiskFull root filesystem of nas")
    assert found.payload["verdict"] == "false_alarm"
    assert "a false alarm" in found.why
    assert "verified" not in found.why


def test_an_open_incident_is_remembered_at_its_end_with_what_a_person_said_before() -> None:
    incident = an_incident(root_cause=WRONG)
    services.annotate(incident, by="alice", cause="a runaway backup")
    assert not MemoryEntry.objects.exists()
    incident.refresh_from_db()
    services.close(incident, Verdict.UNKNOWN, actor="proof", note="no way to tell")
    assert entry_of(incident).payload["root_cause"] == "a runaway backup"
