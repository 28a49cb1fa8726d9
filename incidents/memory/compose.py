"""What is remembered of an incident: the text that is searched, and the facts that come back with it.

A person's word outranks the crew's: it is the cause, and what the crew had said otherwise, or a person rated
as not right, is kept as such, and offered to nobody as the cause.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from incidents import signals
from incidents.memory.embed import MAX_CHARS
from incidents.models import Incident, MemoryEntry, Rating
from incidents.redaction import clean, clean_tree

# Who says what the cause was. `readings`: the crew, with a quote that code found in what was read.
Source = Literal["person", "readings", "crew"]
CONFIRMED = "CONFIRMED"
LONGEST_DESCRIPTION = MAX_CHARS // 2  # a sender's megabytes must leave room for the cause


def compose(incident: Incident) -> tuple[str, dict[str, Any]]:
    """Text and facts of an incident as it is now.

    Facts of the crew (`actions` with their outcomes, `evidence`) come by `signals.facts_wanted`.
    """
    systems = _systems(incident)
    target = incident.target
    facts: dict[str, Any] = {"actions": [], "evidence": []}
    told: list[tuple[Any, Any]] = signals.facts_wanted.send(Incident, incident=incident)
    for _, said in told:
        facts.update(said)
    payload = {
        "incident_id": incident.pk,
        "timestamp": _rfc3339(incident.started_at),
        "alert_name": incident.alert_name,
        "description": clean(incident.description)[:LONGEST_DESCRIPTION],
        "severity": incident.severity,
        "affected_systems": systems,
        "target": target.key if target else None,
        "target_kind": target.kind if target else None,
        "root_cause": incident.cause,
        "cause_by": _source(incident),
        "certainty": incident.certainty or None,
        "crew_cause": incident.root_cause if _is_corrected(incident) or incident.is_denied else None,
        "rating": incident.rating,
        "human_confirmed": _source(incident) == "person",
        "note": incident.human_note or None,
        "annotated_by": incident.annotated_by or None,
        "remediation_taken": incident.remediation_taken,
        **facts,
        "resolution_status": incident.resolution_status,
        "resolution_time_seconds": incident.resolution_seconds,
        "verdict": incident.verdict,
        "reopened": incident.reopened,
    }
    # Not cleaned a second time: half a `[redacted]` at its end would grow longer than its column.
    remembered = {**clean_tree(payload), "signature": signature_of(incident)}
    return clean(_text(incident, payload))[:MAX_CHARS], remembered


def signature_of(incident: Incident) -> str:
    """What makes two incidents the same trouble: the alert, and the target's key (without one: the systems
    that its alerts name)."""
    where = incident.target.key if incident.target else ",".join(incident.affected_systems)
    return signature(incident.alert_name, where)


def signature(alert_name: str, where: str) -> str:
    """As `signature_of`, of an alert at a target that need not be an incident."""
    return clean(f"{alert_name}@{where}")[: MemoryEntry.LONGEST_SIGNATURE]


def _systems(incident: Incident) -> list[str]:
    found = [episode.system for episode in incident.episodes.select_related("target")]
    return sorted({system for system in found if system})


def _source(incident: Incident) -> Source | None:
    if not incident.cause:
        return None
    if incident.human_cause or incident.rating == Rating.RIGHT:
        return "person"
    return "readings" if incident.certainty == CONFIRMED else "crew"


def _is_corrected(incident: Incident) -> bool:
    """A person gave another cause than the crew."""
    crews, persons = incident.root_cause or "", incident.human_cause
    return bool(crews and persons) and crews.casefold().split() != persons.casefold().split()


def _text(incident: Incident, payload: dict[str, Any]) -> str:
    """A line a fact, without lines for what is not known; a person's words before the crew's."""
    crews = "partly right" if incident.rating == Rating.PARTLY else "wrong"
    said = "corrected it" if incident.human_cause else f"calls it {crews}"
    cause = None if incident.human_cause else payload["root_cause"]
    done = "; ".join(f"{each['what']}: {each['outcome']}" for each in payload["actions"])
    labelled = (
        ("severity", incident.severity),
        ("systems", ", ".join(payload["affected_systems"])),
        ("cause, a person says", incident.human_cause),
        ("a person notes", incident.human_note),
        ("cause, a person says" if payload["human_confirmed"] else "cause", cause),
        ("done", done or incident.remediation_taken),
        ("verdict", incident.verdict),
        (f"the crew had said, and a person {said}", payload["crew_cause"]),
    )
    lines = [incident.alert_name, payload["description"]]
    lines += [f"{label}: {fact}" for label, fact in labelled if fact]
    return "\n".join(line for line in lines if line)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
