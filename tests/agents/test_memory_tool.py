"""What agents are told of the past: the few that matter, whose word it is, and what each change came to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import cases, outcomes
from agents.answers import Remediation
from agents.loop import Brief
from agents.models import Action, CrewRun, Step
from agents.reasoners import prompts
from agents.reasoners.playbook import PlaybookReasoner
from agents.tools import REGISTRY
from agents.tools.base import Case, Result
from incidents import memory
from incidents.memory import Recalled
from incidents.models import Target, Verdict
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
ALERT = "ServiceDown"
OWN: dict[str, Any] = {"root_cause": "it ran out of memory", "cause_by": "readings", "verdict": "verified"}


def past(incident: int | None = 7, why: tuple[str, ...] = ("same alert",), **payload: Any) -> Recalled:
    return Recalled(1, incident, ALERT, "text", 0.91, 0.8, 0.7, why, payload)


def told(monkeypatch: pytest.MonkeyPatch, *found: Recalled) -> Result:
    """What the tool says when the memory finds these."""
    incident = an_incident(target=Target.objects.first() or a_target())
    an_episode(incident)
    asked: dict[str, Any] = {}

    def recall(query: str, **wanted: Any) -> list[Recalled]:
        asked.update(wanted)
        return list(found)

    monkeypatch.setattr(memory, "recall", recall)
    result = REGISTRY["recall_incidents"].call(cases.build(incident), {})
    assert (asked["limit"], asked["exclude_incident"], asked["target_kind"]) == (3, incident.pk, "docker")
    return result


def test_it_says_why_what_was_the_cause_and_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [
        {"kind": "restart_container", "what": "restart container docker:h/web", "outcome": "failed"},
        {"kind": "start_container", "what": "start container docker:h/web", "outcome": "verified"},
    ]
    said = told(monkeypatch, past(why=("same alert", "verified", "3 days ago"), **OWN, actions=actions))
    assert said.text.splitlines() == [
        "incident: 7 ServiceDown (score 0.91: same alert, verified, 3 days ago)",
        "  cause (proved by a reading then): it ran out of memory",
        "  done: restart container docker:h/web: failed; start container docker:h/web: verified; "
        "verdict: verified",
    ]


def test_beside_a_sure_one_a_vague_one_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sure, close, vague = (
        replace(past(pk, **OWN), score=score) for pk, score in ((1, 0.9), (2, 0.5), (3, 0.3))
    )
    found = told(monkeypatch, sure, close, vague).data["incidents"]
    assert [each["incident"] for each in found] == [1, 2]
    assert told(monkeypatch, vague).data["count"] == 1


def test_a_person_is_quoted_and_what_the_crew_had_said_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(
        monkeypatch,
        past(
            root_cause="a bad cable",
            cause_by="person",
            crew_cause="the disk is full",
            note="spare ones are\nin the drawer",
        ),
    )
    assert "  a person says: a bad cable" in said.text
    assert "  a person notes: spare ones are in the drawer" in said.text
    assert "disk is full" not in said.text
    assert "disk is full" not in str(said.data)


def test_what_another_memory_says_is_marked_and_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    unproven = ("same alert", "from an earlier memory, unproven")
    said = told(monkeypatch, past(None, unproven, root_cause="a leak", remediation_taken="restarted it"))
    assert said.text.splitlines() == [
        "incident: of another memory, ServiceDown (score 0.91: same alert, from an earlier memory, unproven)",
        "  cause: a leak",
        "  done: restarted it; verdict: none",
    ]
    assert said.data["incidents"][0]["incident"] is None


def test_what_was_remembered_before_there_were_such_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(monkeypatch, past(root_cause="a leak", human_confirmed=True, verdict="unknown"))
    assert "  a person says: a leak" in said.text


def test_what_was_recalled_of_an_older_version_is_no_track_record(monkeypatch: pytest.MonkeyPatch) -> None:
    case, run = at_hand(a_target("web"))
    data = told(monkeypatch, past(root_cause="a leak", human_confirmed=True, verdict="unknown")).data
    assert data["incidents"][0]["actions"] is None
    step = run.steps.get(agent=Step.Agent.ANALYST)
    step.tool_calls.create(call_id="r1", tool="recall_incidents", data=data)
    assert outcomes.track_record(case, run) == []


# --- the track record ---------------------------------------------------------------------------------


def tried(name: str, kind: str = "restart_container", *, days: float = 1, **fields: Any) -> Action:
    """A change that was begun so many days ago."""
    target = a_target(name)
    incident = an_incident(fields.pop("verdict", Verdict.UNKNOWN), target=target)
    begun = timezone.now() - timedelta(days=days)
    wanted = {"status": Action.Status.DONE, "alert_name": ALERT, "executing_at": begun}
    return an_action(incident, target, kind=kind, **{**wanted, **fields})


def at_hand(target: Any) -> tuple[Case, CrewRun]:
    incident = an_incident(target=target)
    an_episode(incident, target=target)
    return cases.build(incident), a_run(incident)


def test_what_each_change_came_to() -> None:
    tried("a", helped=True)
    tried("b", helped=False)
    tried("c", status=Action.Status.FAILED)
    tried("d")  # nobody knows
    tried("e", helped=True, verdict=Verdict.RESOLVED_BY_HUMAN)  # a person says that it was not us
    tried("f", "start_container", helped=True)
    tried("g", "create_silence")  # mends nothing
    tried("h", helped=True, days=31)
    tried("i", helped=True, alert_name="AnotherAlert")
    tried("j", helped=True, executing_at=None)
    case, run = at_hand(a_target("web"))
    assert outcomes.in_words(outcomes.track_record(case, run)) == [
        "restart_container: 5 tried, 1 verified, 2 failed for this alert on such targets",
        "start_container: 1 tried, 1 verified for this alert on such targets",
    ]


def test_on_this_target_and_in_what_was_recalled_it_is_counted_apart() -> None:
    target = tried("web", helped=False).target
    case, run = at_hand(target)
    shown = {"kind": "restart_container", "what": "restart container docker:h/x", "outcome": "verified"}
    for call in range(2):  # the same incident, told twice
        run.steps.get(agent=Step.Agent.ANALYST).tool_calls.create(
            call_id=f"r{call}",
            tool="recall_incidents",
            data={"incidents": [{"incident": 3, "actions": [shown]}, "odd"]},
        )
    [row] = outcomes.track_record(case, run)
    assert row == {
        "action": "restart_container",
        "here": {"tried": 1, "verified": 0, "failed": 1},
        "alike": {"tried": 1, "verified": 0, "failed": 1},
        "recalled": {"tried": 1, "verified": 1, "failed": 0},
    }


def test_it_takes_one_statement_and_one_for_what_was_recalled(django_assert_num_queries: Any) -> None:
    for name in ("a", "b", "c"):
        tried(name, helped=True)
    case, run = at_hand(a_target("web"))
    with django_assert_num_queries(2):
        outcomes.track_record(case, run)


def brief(record: list[dict[str, Any]], **context: Any) -> Brief[Any]:
    """The Healer's, of a container that crashed."""
    case, _ = at_hand(a_target("web"))
    diagnosis = {"cause": "x", "certainty": "LIKELY", "claims": [], "code": "container_exited.crashed"}
    return Brief(
        "healer", case, Remediation, context={"diagnosis": diagnosis, "track_record": record, **context}
    )


@pytest.mark.parametrize(
    ("here", "proposed"),
    [
        ({"tried": 2, "verified": 0, "failed": 2}, "none"),
        ({"tried": 3, "verified": 0, "failed": 2}, "none"),
        ({"tried": 5, "verified": 1, "failed": 4}, "restart_container"),
        ({"tried": 2, "verified": 0, "failed": 1}, "restart_container"),
        (None, "restart_container"),
    ],
)
def test_playbooks_do_not_repeat_what_never_helped_here(here: dict[str, int] | None, proposed: str) -> None:
    alike = {"tried": 9, "verified": 0, "failed": 9}
    row = {"action": "restart_container", "alike": alike, **({"here": here} if here else {})}
    turn = PlaybookReasoner().next_turn(brief([row]), [], final=False)
    assert turn.answer is not None
    assert turn.answer["action"] == proposed
    assert ("never helped, so it needs a person" in turn.answer["reason"]) is (proposed == "none")


def test_a_person_who_asks_again_is_given_the_proposal() -> None:
    row = {"action": "restart_container", "here": {"tried": 2, "verified": 0, "failed": 2}}
    turn = PlaybookReasoner().next_turn(brief([row], asked_by_a_person=True), [], final=False)
    assert turn.answer is not None
    assert turn.answer["action"] == "restart_container"


def test_a_model_reads_it_in_words_between_the_marks() -> None:
    row = {"action": "restart_container", "here": {"tried": 3, "verified": 2, "failed": 1}}
    given = brief([row])
    text = prompts.case(given)
    assert '"track_record":["restart_container: 3 tried, 2 verified, 1 failed on this target"]' in text
    assert text.startswith("<untrusted>")
    assert "track_record" not in prompts.case(replace(given, context={"track_record": []}))
