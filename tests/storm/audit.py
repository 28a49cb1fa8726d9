"""What the storm left, from the database and the engines' own logs: each promise, and what breaks it."""

from __future__ import annotations

import bisect
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from tests.totals import differences

from .engine import Call
from .outages import SLOW, Alert, Outage
from .records import QUEUES, Records, seconds
from .sender import Ledger

ROUNDING = 0.002  # payloads carry milliseconds


@dataclass(frozen=True)
class Episode:
    fingerprint: str
    starts_at: float
    ends_at: float | None
    incident: int | None


@dataclass
class Audit:
    """What is broken, in words, by promise; and what is worth counting."""

    broken: dict[str, list[str]] = field(default_factory=dict)
    incidents: int = 0
    actions: int = 0
    unknown_actions: int = 0
    restarts: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    action_ends: Counter[str] = field(default_factory=Counter)
    reopened: int = 0

    @property
    def holds(self) -> bool:
        return not any(self.broken.values())


def audit(records: Records, ledger: Ledger, outages: list[Outage], calls: list[Call]) -> Audit:
    """Look at everything once, after the work has come to its end."""
    episodes = _episodes(records)
    result = Audit()
    result.broken = {
        "acked and missing": [*_lost_deliveries(records, ledger), *_lost_alerts(ledger, episodes)],
        "duplicate incidents": list(_duplicates(records, outages, episodes)),
        "executions above one an action": list(_executions(records, calls)),
        "claimed and not done": list(_false_claims(records, calls)),
        "left undone": list(_undone(records)),
        "totals that are not exact": differences(records.rows),
    }
    result.incidents = records.count("incidents_incident")
    result.actions = records.count("agents_action WHERE executing_at IS NOT NULL")
    result.restarts = len(_restarts(calls))
    verdicts = "SELECT verdict, count(*) FROM incidents_incident GROUP BY verdict"
    result.verdicts = Counter({str(verdict): count for verdict, count in records.rows(verdicts)})
    ends = "SELECT status, count(*) FROM agents_action GROUP BY status"
    result.action_ends = Counter(dict(records.rows(ends)))
    result.reopened = records.count("incidents_incident WHERE reopened > 0")
    return result


def _episodes(records: Records) -> dict[str, list[Episode]]:
    query = "SELECT fingerprint, starts_at, ends_at, incident_id FROM incidents_episode ORDER BY id"
    found: dict[str, list[Episode]] = defaultdict(list)
    for fingerprint, starts, ends, incident in records.rows(query):
        end = None if ends is None else seconds(ends)
        found[fingerprint].append(Episode(fingerprint, seconds(starts), end, incident))
    return found


def _lost_deliveries(records: Records, ledger: Ledger) -> Iterator[str]:
    """Each delivery that was acknowledged is stored, byte for byte, as often as it was."""
    stored = Counter(
        sha256(body).hexdigest() for (body,) in records.rows("SELECT body FROM incidents_delivery")
    )
    for digest, count in Counter(each.digest for each in ledger.acked).items():
        if stored[digest] < count:
            yield f"delivery {digest[:12]}: acknowledged {count} times, stored {stored[digest]} times"


def _lost_alerts(ledger: Ledger, episodes: dict[str, list[Episode]]) -> Iterator[str]:
    """Each alert has its one episode, from its start; each that was resolved has its end.

    An alert that fired when it was told has an incident. One whose end was told first may have none: by then
    it was over.
    """
    told_over: dict[str, float] = {}
    told_firing: dict[str, float] = {}
    alerts: dict[str, Alert] = {}
    for acked in ledger.acked:
        for alert in acked.alerts:
            key = alert.fingerprint
            alerts[key] = alert
            if alert.ends_at is None:
                told_firing[key] = min(told_firing.get(key, acked.answered_at), acked.answered_at)
            else:
                told_over[key] = min(told_over.get(key, acked.sent_at), acked.sent_at)
    for key, alert in alerts.items():
        name = f"{alert.name} of {alert.container}"
        found = episodes.get(key, [])
        if len(found) != 1:
            yield f"{name}: {len(found)} episodes"
            continue
        if abs(found[0].starts_at - alert.starts_at) > ROUNDING:
            yield f"{name}: its start is another"
        if key in told_over and found[0].ends_at is None:
            yield f"{name}: its end is missing"
        if key not in told_over and found[0].ends_at is not None:
            yield f"{name}: nobody said that it ended"
        if found[0].incident is None and key in told_firing and told_firing[key] < told_over.get(key, 1e12):
            yield f"{name}: fired, and has no incident"


def _duplicates(records: Records, outages: list[Outage], episodes: dict[str, list[Episode]]) -> Iterator[str]:
    """One incident an outage, and none beside."""
    seen: Counter[int] = Counter()
    for outage in outages:
        keys = [each.fingerprint for each in outage.alerts()]
        found = {row.incident for key in keys for row in episodes.get(key, []) if row.incident is not None}
        seen.update(found)
        if len(found) != 1:
            yield f"{outage.container}: incidents {sorted(found)}"
    yield from (f"#{pk}: of {count} outages" for pk, count in seen.items() if count > 1)
    for pk, name in records.rows("SELECT id, alert_name FROM incidents_incident ORDER BY id"):
        if pk not in seen:
            yield f"#{pk} {name}: of no outage"
        elif name == SLOW:
            yield f"#{pk} {name}: opened by an alert that was over"


def _restarts(calls: list[Call]) -> list[tuple[str, str, float]]:
    """Host, container's id and time of each restart that an engine was asked for."""
    found = []
    for call in calls:
        if call.method == "POST" and call.path.endswith("/restart"):
            found.append((call.host, call.path.split("/")[2], call.at))
    return found


def _begun(records: Records) -> dict[tuple[str, str], list[tuple[float, int, str]]]:
    """By host and container's id: when each action began, its id and its status."""
    query = (
        "SELECT a.host, t.facts, a.executing_at, a.id, a.status FROM agents_action a"
        " JOIN incidents_target t ON t.id = a.target_id WHERE a.executing_at IS NOT NULL"
        " ORDER BY a.executing_at"
    )
    found: dict[tuple[str, str], list[tuple[float, int, str]]] = defaultdict(list)
    for host, facts, at, pk, status in records.rows(query):
        found[host, _identity(facts)].append((seconds(at), pk, status))
    return found


def _identity(facts: dict[str, str] | str) -> str:
    """A container's id; SQLite keeps JSON as text."""
    return str((json.loads(facts) if isinstance(facts, str) else facts)["id"])


def _per_action(records: Records, calls: list[Call]) -> tuple[Counter[int], list[str]]:
    """How often each action was carried out: a call is of the last action that had begun. And the others."""
    begun, count, stray = _begun(records), Counter[int](), []
    for host, identity, at in _restarts(calls):
        rows = begun.get((host, identity), [])
        place = bisect.bisect_right([began for began, _, _ in rows], at)
        if place:
            count[rows[place - 1][1]] += 1
        else:
            stray.append(f"{host} {identity[:12]}: restarted without an action")
    return count, stray


def _executions(records: Records, calls: list[Call]) -> Iterator[str]:
    count, stray = _per_action(records, calls)
    yield from stray
    yield from (f"action {pk}: carried out {times} times" for pk, times in count.items() if times > 1)


def _false_claims(records: Records, calls: list[Call]) -> Iterator[str]:
    """An action that is said to be done reached the engine."""
    count, _ = _per_action(records, calls)
    for pk, status in records.rows("SELECT id, status FROM agents_action WHERE status = 'done' ORDER BY id"):
        if not count[pk]:
            yield f"action {pk} is {status}, and no engine was asked for it"


def _undone(records: Records) -> Iterator[str]:
    """Everything has come to its end, and nothing died on the way."""
    yield from (f"{count} {what}" for what, count in records.unsettled().items())
    for table in QUEUES:
        for pk, error in records.rows(f"SELECT id, error FROM {table} WHERE state = 'dead' ORDER BY id"):
            yield f"{table} {pk} is dead: {error}"
