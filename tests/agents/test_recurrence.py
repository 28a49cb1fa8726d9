"""A trouble that comes back, to the problem that it becomes: the real crew on playbooks, with a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from agents import crew, outcomes, questions, reasoners
from agents.models import Action, Step, ToolCall
from agents.tools import REGISTRY
from agents.tools.base import Result, Tool
from incidents import services as incident_services
from incidents import tasks
from incidents.memory import forget_index
from incidents.models import Event, Incident, MemoryEntry, Notification, Problem, Verdict
from incidents.queue import State
from tests.agents.crew_world import ALERT, CrewWorld, fresh, work, world

__all__ = ["world"]
pytestmark = pytest.mark.django_db
THINK = reasoners.think  # before the world replaces it
CORRECTION = "the licence server is away at night"
INSPECTED = {
    "status": "exited",
    "running": False,
    "exit_code": 3,
    "oom_killed": False,
    "stopped_by": "crash",
    "restart_count": 0,
}


def reads(name: str, data: dict[str, Any]) -> Tool:
    """A tool that reads always the same."""
    text = "\n".join(f"{key}: {str(value).lower()}" for key, value in data.items())
    return replace(REGISTRY[name], function=lambda case, **_: Result(text, data))


@pytest.fixture
def house(world: CrewWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrewWorld]:
    """No model; a container that exits with code 3; a memory that is empty at first."""
    tools = [reads("docker_inspect", INSPECTED), REGISTRY["recall_incidents"]]
    monkeypatch.setattr(reasoners, "think", THINK)
    monkeypatch.setattr(crew, "available", lambda: tools)
    forget_index()
    yield world
    forget_index()


def learn() -> None:
    """What the records' worker does."""
    for pk in MemoryEntry.queue.filter(state=State.WAITING).values_list("pk", flat=True):
        tasks.sync_memory(pk)


def trouble(house: CrewWorld, previous: Incident | None = None) -> Incident:
    """The container goes down, a person says yes when asked, and it ends."""
    incident = house.breaks("web", previous=previous)
    for asked in incident.actions.filter(status=Action.Status.AWAITING_APPROVAL):
        questions.approve(asked, by="alice")
        work()
    learn()
    return fresh(incident)


def recalled(incident: Incident) -> ToolCall:
    """What the Analyst was told of the past; playbooks ask once."""
    return ToolCall.objects.get(step__run__incident=incident, tool="recall_incidents")


def told(incident: Incident) -> str:
    return "\n".join(incident.notifications.order_by("pk").values_list("body", flat=True))


def problem_messages() -> list[Notification]:
    return list(Notification.objects.filter(dedup_key__contains="problem:"))


def test_the_third_time_quotes_the_person_and_raises_the_problem_once(
    house: CrewWorld, person: Callable[..., Client]
) -> None:
    first = trouble(house)
    assert recalled(first).output == "nothing like this yet"
    second = trouble(house, first)
    assert f"incident: {first.pk} {ALERT}" in recalled(second).output
    assert "restart container docker:docker2/web: verified" in recalled(second).output
    assert (
        "cause (proved by a reading then): docker:docker2/web exited with code 3" in recalled(second).output
    )
    incident_services.annotate(second, by="alice", cause=CORRECTION)
    learn()

    third = trouble(house, second)
    assert third.verdict == Verdict.VERIFIED
    call = recalled(third)
    best = call.data["incidents"][0]
    assert (best["incident"], best["cause_by"], best["root_cause"]) == (second.pk, "person", CORRECTION)
    assert {"same alert", "same kind of target", "a person corrected the cause", "verified"} <= set(
        best["why"]
    )
    of_second = call.output.split("incident: ")[1]
    assert f"a person says: {CORRECTION}" in of_second
    assert "exited with code 3" not in of_second  # what the crew had said is not offered as the cause
    assert f"Last time (#{second.pk}): restart container docker:docker2/web, fixed and verified" in told(
        third
    )
    assert f"alice says of it: {CORRECTION}" in told(third)
    assert "It was there 3 times in 7 days." in told(third)

    problem = Problem.objects.get()
    assert set(problem.incidents.all()) == {first, second, third}
    assert problem.proposal.startswith(f"A person says (#{second.pk}): {CORRECTION}")
    assert "restart container docker:docker2/web helped, and it came back: 3 times." in problem.proposal
    [message] = problem_messages()
    assert (message.kind, message.title) == ("update", f"{ALERT} web@docker2: 3 times in 7 days")
    assert CORRECTION in message.body
    event = Event.objects.get(kind=Event.Kind.RECURRED)
    assert (event.incident, event.data["problem"]) == (third, problem.pk)

    page = person(staff=True).get(f"/incidents/{third.pk}").content.decode()
    assert f"<b>a person says:</b> {CORRECTION}" in page
    assert "because: same alert" in page
    assert "3 times since" in page
    assert "Comes back" in person(staff=True, name="kim").get("/").content.decode()


def test_what_comes_back_without_any_fix_is_a_problem_too(house: CrewWorld, settings: Any) -> None:
    settings.REMEDIATION_MODE = "observe"
    for _ in range(3):
        house.breaks("web")
        house.down.discard("web")  # it comes back by itself
        work()
        learn()
    problem = Problem.objects.get()
    assert problem.incidents.count() == 3
    assert "exit_code: 3" in problem.proposal
    assert len(problem_messages()) == 1


def test_what_failed_twice_here_and_never_helped_is_not_proposed_again(house: CrewWorld) -> None:
    house.mends = False
    for _ in range(2):
        assert trouble(house).verdict == Verdict.NOT_FIXED
    third = house.breaks("web")
    assert not third.actions.exists()
    answer = Step.objects.get(run__incident=third, agent=Step.Agent.HEALER).output or {}
    assert answer["action"] == "none"
    assert "restart container was tried 2 times here in 30 days and never helped" in answer["reason"]
    assert "needs a person" in told(third)
    elsewhere = house.breaks("db")  # another target of the kind is another matter
    assert elsewhere.actions.get().status == Action.Status.AWAITING_APPROVAL


def test_the_healer_is_given_the_track_record(house: CrewWorld) -> None:
    trouble(house)
    house.mends = False
    trouble(house)
    house.down.discard("web")
    other = house.breaks("db")
    brief = Step.objects.get(run__incident=other, agent=Step.Agent.HEALER).brief or {}
    assert outcomes.in_words(brief["context"]["track_record"]) == [
        "restart_container: 2 tried, 1 verified, 1 failed for this alert on such targets; "
        "2 tried, 1 verified, 1 failed in the incidents recalled"
    ]


def test_an_outcome_that_is_known_after_the_end_is_remembered(house: CrewWorld) -> None:
    incident = trouble(house)
    entry = MemoryEntry.objects.get(incident=incident)
    [action] = entry.payload["actions"]
    assert (action["kind"], action["target"], action["outcome"]) == (
        "restart_container",
        "docker:docker2/web",
        "verified",
    )
    assert "exit_code: 3" in entry.payload["evidence"]
    incident_services.annotate(incident, by="alice", verdict=Verdict.RESOLVED_BY_HUMAN)
    entry.refresh_from_db()
    assert entry.payload["actions"][0]["outcome"] == "unknown"  # a person says that it was not us
