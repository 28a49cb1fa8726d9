"""A process that is killed just before or just after any of its commits loses, doubles and strands nothing.

Real processes, a real database file, the real tasks and sweeps; only the broker is a list and time jumps.
"""

from __future__ import annotations

import ast
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homelab.crashpoints import MARKER
from tests.crash.nursery import ROOT, Life, Nursery
from tests.crash.world import World

pytestmark = pytest.mark.e2e
NAMES = (
    "fixed",
    "approved",
    "refused",
    "paused",
    "taken",
    "waited",
    "unmodelled",
    "stranded",
    "slept",
    "heard",
    "silent",
    "polled",
    "kept",
    "recurred",
)
COMMITS = (
    "agents.budget.reserve",
    "agents.cases.bind_targets",
    "agents.contested.settle",
    "agents.advance._abandon",
    "agents.again.investigate",
    "agents.crew._wait",
    "agents.crew.analyst",
    "agents.crew.communicate",
    "agents.crew.healer",
    "agents.crew.leave",
    "agents.crew.monitor",
    "agents.crew.summarize",
    "agents.executor._begin",
    "agents.executor._conclude",
    "agents.executor._stop",
    "agents.health.run",
    "agents.ledger.decide",
    "agents.pauses.end_window",
    "agents.pauses.lift",
    "agents.pauses.open_window",
    "agents.pauses.pause",
    "agents.postmortem.asking.ask",
    "agents.proof.adopt_state_checks",
    "agents.questions.approve",
    "agents.questions.ask_again",
    "agents.questions.expire",
    "agents.questions.reject",
    "agents.reasoners.breaker.failed",
    "agents.reasoners.calls._settle",
    "agents.reconcile._end_unlisted",
    "agents.reconcile._mark_listed",
    "agents.reconcile.run",
    "agents.services.start_run",
    "agents.stranded.settle",
    "agents.transcript.recorder",
    "agents.watch.look",
    "incidents.access.create_token",
    "incidents.access.revoke_token",
    "incidents.digest._joins",
    "incidents.digest.take_along",
    "incidents.events.record",
    "incidents.intake._store",
    "incidents.intake.apply_alerts",
    "incidents.intake.settle_contested",
    "incidents.inventory.refresh",
    "incidents.jobs.ensure",
    "incidents.jobs.request",
    "incidents.leases.renew",
    "incidents.memory.keep.keep",
    "incidents.memory.load._revive",
    "incidents.memory.renewal._embed_row",
    "incidents.memory.renewal._promote",
    "incidents.memory.renewal.mark_all",
    "incidents.memory.renewal.request",
    "incidents.notifications._deliver",
    "incidents.notifications._queue",
    "incidents.problems._leave",
    "incidents.problems.close",
    "incidents.problems.edit",
    "incidents.problems.raise_problem",
    "incidents.queue.QueueQuerySet.claim",
    "incidents.queue.QueueQuerySet.take_hints",
    "incidents.queue.QueueRow._write",
    "incidents.queue._release",
    "incidents.services.acknowledge",
    "incidents.services.annotate",
    "incidents.services.escalate",
    "incidents.services.give_back",
    "incidents.services.give_up",
    "incidents.services.rate",
    "incidents.services.resolve",
    "incidents.services.retry",
    "incidents.services.take_over",
    "incidents.tally._fold",
    "incidents.turns.give_back",
    "incidents.turns.take",
)
# These commit with whoever calls them: there is no moment between theirs and their caller's commit. Or they
# only read.
INSIDE = {
    "agents.crew.go_on",
    "agents.crew.stand_back",
    "agents.reconcile.open_missed",
    "agents.services.finish_run",
    "agents.services.propose",
    "agents.services.settle_outcomes",
    "incidents.finding.planned_by_value",
    "incidents.memory.sync.remember",
    "incidents.notifications.tell",
    "incidents.services.close",
    "incidents.services.end_when_all_resolved",
    "incidents.services.reopen",
    "incidents.services.transition",
}
# Said again by a person who heard no answer.
REPEATED = {"annotated", "noted", "paused", "problem", "requested", "retried"}
# Depends on what was seen, and on what was overtaken by later news.
VARYING = {"agent", "notified", "proof"}


@dataclass(frozen=True)
class Place:
    """The `time`-th time that a life is at a point, and what it is doing there."""

    life: str
    time: int
    doing: str


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(nursery: Nursery) -> dict[str, Life]:
    """Each life as it is without a crash."""
    lives = {}
    for name in NAMES:
        with World() as world:
            lives[name] = nursery.whole(nursery.home(), name, world)
    return lives


def places(whole: dict[str, Life], point: str) -> list[Place]:
    """Where a point is reached: once for each kind of work in the course of which it is."""
    found: dict[str, Place] = {}
    for name, life in whole.items():
        doings = [doing for each, doing in life.reached if each == point]
        for time, doing in enumerate(doings, start=1):
            found.setdefault(doing, Place(name, time, doing))
    return list(found.values())


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("commit", COMMITS)
def test_a_crash_at_a_commit(commit: str, side: str, nursery: Nursery, whole: dict[str, Life]) -> None:
    point = f"{commit}:{side}"
    assert places(whole, point), f"no life reaches {point}"
    for place in places(whole, point):
        home = nursery.home()
        with World() as world:
            killed = nursery.live(home, place.life, world, crash=f"{point}#{place.time}")
            assert killed == -signal.SIGKILL, f"{place}: {killed}\n{nursery.errors()}"
            assert (home / MARKER).exists()
            again = nursery.whole(home, place.life, world)
        wrong = list(differences(again, whole[place.life], point))
        assert wrong == [], place


def differences(life: Life, whole: Life, point: str) -> Iterator[str]:
    """What a life with a crash in it lost, doubled or left, beside one without."""
    found, wanted = life.found, whole.found
    # Cut off between `executing` and its call, an action is never done, and people are told: nobody knows.
    unknown = "unknown" in found["actions"]
    if len(found["verdicts"]) != len(wanted["verdicts"]) or None in found["verdicts"]:
        yield f"verdicts {found['verdicts']}"
    if not unknown and (found["verdicts"], found["actions"]) != (wanted["verdicts"], wanted["actions"]):
        yield f"verdicts {found['verdicts']}, actions {found['actions']}"
    if life.restarts != found["actions"].count("done"):
        yield f"restarts {life.restarts}, actions {found['actions']}"
    # What nobody knows to have been done did not help, and costs its pair the trust that it had.
    varying = VARYING | {"status"} | ({"autonomy"} if unknown else set())
    events = {*found["events"], *wanted["events"]} - varying
    for kind in events - REPEATED:
        if found["events"].get(kind) != wanted["events"].get(kind):
            yield f"{kind} {found['events'].get(kind)} times"
    yield from differences_of_messages(life, whole, point)
    for what in ("targets", "remembered"):
        if found[what] != wanted[what]:
            yield f"{what} {found[what]}"
    left = {state for state in found["states"] if state not in wanted["states"]}
    if left:
        yield f"left {left}"


def differences_of_messages(life: Life, whole: Life, point: str) -> Iterator[str]:
    sent = Counter(life.found["sent"])
    if lost := sent - life.messages:
        yield f"never sent {lost}"
    # Sent, and killed before that was written: it is sent again, for a lost message is worse than two.
    may_double = point == "incidents.notifications._deliver:before"
    if (doubled := life.messages - sent) and not (may_double and doubled.total() == 1):
        yield f"sent again {doubled}"
    last = [each["sent"][-1:] for each in (life.found, whole.found)]
    endings = [titles[0].rpartition("·")[2] for titles in last if titles]
    if "unknown" not in life.found["actions"] and len(set(endings)) > 1:
        yield f"last told {endings[0]}, not {endings[1]}"


def test_the_list_is_complete(whole: dict[str, Life]) -> None:
    """No life is at a commit that the list lacks."""
    reached = {point.rpartition(":")[0] for life in whole.values() for point, _ in life.reached}
    assert reached - {"django"} == set(COMMITS)  # that is what a life writes itself, as its past


def test_every_transaction_of_the_program_is_in_the_list() -> None:
    written = {name for app in ("agents", "incidents") for name in transactions(ROOT / app)}
    assert written - INSIDE == {name for name in COMMITS if name in written}
    assert written >= INSIDE


def transactions(app: Path) -> Iterator[str]:
    """The functions that say `transaction.atomic`, as crash points are named."""
    for path in app.rglob("*.py"):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        nodes = [("", node) for node in tree.body]
        nodes += [(f"{owner.name}.", node) for owner in classes for node in owner.body]
        for prefix, node in nodes:
            if isinstance(node, ast.FunctionDef) and "transaction.atomic" in ast.unparse(node):
                yield f"{module}.{prefix}{node.name}"
