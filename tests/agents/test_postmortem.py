"""The postmortem: what the records say of an incident, for each reader, as a page, Markdown and JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import postmortem
from agents.models import Action, CrewRun, Step, ToolCall
from agents.postmortem.markdown import markdown
from incidents import events
from incidents import services as incident_services
from incidents.models import Event, Incident, MemoryEntry, Notification, Problem, Rating, Verdict
from incidents.queue import State
from tests.agents.crew_world import CrewWorld, fresh, world
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import START, a_target, an_episode, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db
QUOTE = "Killed process 7"


@pytest.fixture
def ended() -> Incident:
    """A restart that a person allowed and that the proof found good."""
    target = a_target()
    incident = an_incident(
        Verdict.VERIFIED,
        seconds=137.0,
        target=target,
        root_cause="out of memory",
        certainty="CONFIRMED",
        rung="model",
        opened_at=START + timedelta(seconds=30),
        proof_note="clear; held for 60 s over 9 looks",
        remediation_taken="restart container docker:docker2/jellyfin",
    )
    an_episode(
        incident, ends_at=START + timedelta(seconds=100), annotations={"runbook_url": "https://wiki/x"}
    )
    run = a_run(incident)
    Step.objects.filter(run=run).update(finished_at=START + timedelta(seconds=40))
    Step.objects.create(run=run, agent="proof", output={"last": "cleared: fresh", "looks": 9, "hold": 60.0})
    an_action(
        incident,
        target,
        status=Action.Status.DONE,
        proposed_at=START + timedelta(seconds=41),
        decided_at=START + timedelta(seconds=51),
        decided_by="alice",
        by_person=True,
        executing_at=START + timedelta(seconds=52),
        finished_at=START + timedelta(seconds=55),
        helped=True,
        result="secret-looking result",
    )
    for seconds, kind, actor, text, data in (
        (30, Event.Kind.OPENED, "alertmanager", "up was 0", {}),
        (40, Event.Kind.AGENT, "analyst", "CONFIRMED: out of memory", {}),
        (51, Event.Kind.APPROVED, "alice", "approved: restart", {}),
        (55, Event.Kind.EXECUTED, "executor", "restart: done", {}),
        (137, Event.Kind.STATUS, "proof", "verified: clear", {"to": "closed"}),
    ):
        at = START + timedelta(seconds=seconds)
        Event.objects.create(incident=incident, at=at, kind=kind, actor=actor, text=text, data=data)
    return incident


def another_run(incident: Incident) -> CrewRun:
    incident.runs.update(finished_at=timezone.now())
    return CrewRun.objects.create(incident=incident, number=2)


def codes(incident: Incident) -> set[str]:
    return {each.code for each in postmortem.of(fresh(incident)).follow_ups}


# --- what it says ----------------------------------------------------------------------------------


def test_it_says_what_was_hurt_and_for_how_long(ended: Incident) -> None:
    impact = postmortem.of(ended).impact
    assert (impact.alerts, impact.systems) == (1, ("docker:docker2/jellyfin",))
    assert (impact.until, impact.until_by, impact.seconds) == (START + timedelta(seconds=137), "proof", 137.0)


def test_it_says_how_long_each_thing_took(ended: Incident) -> None:
    spans = {each.name: each.seconds for each in postmortem.of(ended).spans}
    assert spans == {
        "from the alert to its opening": 30.0,
        "from the alert to a cause": 40.0,
        "from the alert to a person's answer": 51.0,
        "from the alert to the first change": 52.0,
        "from the alert to the proof": 137.0,
    }


def test_where_it_came_back_it_counts_from_its_return(ended: Incident) -> None:
    at = START + timedelta(seconds=45)
    Event.objects.create(incident=ended, at=at, kind=Event.Kind.REOPENED, actor="alertmanager", text="again")
    spans = {each.name: each.seconds for each in postmortem.of(ended).spans}
    assert spans == {
        "from its return to a person's answer": 6.0,
        "from its return to the first change": 7.0,
        "from its return to the proof": 92.0,
    }


def test_what_was_changed_before_its_return_is_not_the_first_change_since(ended: Incident) -> None:
    at = START + timedelta(seconds=60)
    Event.objects.create(incident=ended, at=at, kind=Event.Kind.REOPENED, actor="alertmanager", text="again")
    again = another_run(ended)
    step = Step.objects.create(run=again, agent="healer")
    begun: dict[str, Any] = {
        "executing_at": at + timedelta(seconds=9),
        "finished_at": at + timedelta(seconds=10),
    }
    an_action(ended, status=Action.Status.DONE, step=step, **begun)
    spans = {each.name: each.seconds for each in postmortem.of(ended).spans}
    assert spans["from its return to the first change"] == 9.0


def test_the_first_answer_that_names_a_cause_is_when_it_was_known(ended: Incident) -> None:
    def known() -> float | None:
        spans = {each.name: each.seconds for each in postmortem.of(ended).spans}
        return spans.get("from the alert to a cause")

    again = another_run(ended)
    first = Step.objects.get(agent="analyst")
    later = {"finished_at": START + timedelta(hours=2), "output": first.output}
    Step.objects.create(run=again, agent="analyst", state="done", **later)
    assert known() == 40.0
    Step.objects.filter(pk=first.pk).update(output={**(first.output or {}), "certainty": "INCONCLUSIVE"})
    assert known() == 7200.0


def test_it_is_named_as_a_document(ended: Incident) -> None:
    assert postmortem.of(ended).title == "ServiceDown on jellyfin@docker2, 2026-11-23"


def test_evidence_and_struck_claims_stand_apart(ended: Incident) -> None:
    cause = postmortem.of(ended).cause
    assert [(each.text, each.tool, each.quote) for each in cause.evidence] == [
        ("the kernel killed it", "container_logs", QUOTE)
    ]
    assert [each.text for each in cause.struck] == ["the disk is full"]
    assert cause.dropped == ("a crash loop",)


def test_a_change_says_who_allowed_it_and_what_the_proof_said(ended: Incident) -> None:
    [change] = postmortem.of(ended).changes
    assert (change.decided_by, change.by_person, change.helped) == ("alice", True, True)
    assert (change.waited_seconds, change.took_seconds) == (10.0, 3.0)


def test_what_a_person_rejected_and_what_the_policy_refused_was_allowed_by_nobody(
    ended: Incident, person: Any
) -> None:
    done = {"executing_at": None, "finished_at": None, "helped": None}
    client = person(staff=True)
    for status, by, by_person in (
        (Action.Status.REJECTED, "Kim", True),
        (Action.Status.REFUSED, "policy", False),
    ):
        Action.objects.update(status=status, decided_by=by, by_person=by_person, **done)
        made = postmortem.of(ended)
        assert postmortem.facts(made)["changes"][0]["decided"] == f"decided by {by}"
        assert f"- Decided by {by} at" in markdown(made)
        page = client.get(f"/incidents/{ended.pk}/postmortem").content.decode()
        assert f"Decided by {by}," in page
        assert "Allowed by" not in page


def test_a_name_stays_as_it_is_written(ended: Incident) -> None:
    Action.objects.update(decided_by="KimB")
    assert "- Approved by KimB at" in markdown(postmortem.of(ended))


def test_it_says_how_it_ended_and_why_we_know(ended: Incident) -> None:
    ending = postmortem.of(ended).ending
    assert (ending.standing, ending.by, ending.looks) == ("Fixed, proven", "proof", 9)
    assert ending.note == "clear; held for 60 s over 9 looks"


def test_without_a_model_the_summary_is_whole(ended: Incident) -> None:
    summary = postmortem.of(ended).summary
    assert summary.by == "playbooks"
    assert summary.text == (
        "ServiceDown (critical) on docker:docker2/jellyfin began at 2026-11-23 04:00:00 UTC and lasted 2m. "
        "up was 0. The crew's cause (confirmed): out of memory. Done: restart container "
        "docker:docker2/jellyfin (approved by alice). Fixed, proven. Our change was followed by proof: the "
        "alert's own signal cleared, and stayed so."
    )


def test_what_the_memory_gave_the_crew_is_told_and_not_what_it_would_give_today(ended: Incident) -> None:
    past = {"incident": 3, "alert_name": "ServiceDown", "root_cause": "a full disk", "cause_by": "person"}
    step = Step.objects.get(agent="analyst")
    ToolCall.objects.create(
        step=step,
        call_id="t2",
        tool="recall_incidents",
        data={"incidents": [{**past, "why": ["same alert"]}]},
    )
    [told] = postmortem.of(ended).remembered
    assert (told.incident, told.cause, told.by_person, told.why) == (3, "a full disk", True, ("same alert",))


def test_a_persons_word_is_the_cause_and_the_crews_stands_beside_it(ended: Incident) -> None:
    incident_services.rate(ended, by="bob", rating=Rating.WRONG)
    incident_services.annotate(ended, by="bob", cause="a bad disk", note="replaced it")
    cause = postmortem.of(fresh(ended)).cause
    assert (cause.text, cause.by, cause.crews) == ("a bad disk", "bob", "out of memory")
    assert (cause.rating, cause.rated_by, cause.note) == ("wrong", "bob", "replaced it")


def test_an_open_incident_is_not_over_yet(world: CrewWorld) -> None:
    incident = world.breaks("web")
    made = postmortem.of(incident)
    assert (made.is_over, made.impact.until, made.ending.verdict) == (False, None, None)
    assert made.impact.seconds >= 30
    assert "goes on" in made.summary.text
    assert "**Not over yet.**" in markdown(made)


def test_an_end_without_proof_is_the_senders_word_and_one_that_still_fires_is_none() -> None:
    incident = an_incident(Verdict.UNKNOWN, target=a_target())
    alert = an_episode(incident, ends_at=START + timedelta(seconds=50))
    assert postmortem.of(incident).impact.until_by == "sender"
    alert.ends_at = None
    alert.save()
    assert postmortem.of(incident).impact.until is None
    assert "still_firing" in codes(incident)


def test_an_incident_of_which_nothing_is_known_has_one_too() -> None:
    made = postmortem.of(an_incident(status="new"))
    assert made.cause.text is None
    assert "No cause was found. Nothing was changed. Looking into it." in made.summary.text
    assert markdown(made).startswith("# Postmortem of incident")


def test_a_long_timeline_keeps_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.postmortem.compose.FIRST_EVENTS", 3)
    monkeypatch.setattr("agents.postmortem.compose.LAST_EVENTS", 2)
    incident = an_incident()
    for number in range(9):
        events.record(incident, Event.Kind.NOTED, "alice", f"note {number}")
    made = postmortem.of(incident)
    told = [moment.text for chapter in made.timeline for moment in chapter.moments]
    assert told == ["note 0", "note 1", "note 2", "note 7", "note 8"]
    assert made.left_out == 4


# --- follow-ups ------------------------------------------------------------------------------------


def test_what_went_well_leaves_nothing_but_a_missing_expression(ended: Incident) -> None:
    assert codes(ended) == {"no_expression"}
    ended.episodes.update(generator_url="http://prometheus:9090/graph?g0.expr=up+%3D%3D+0")
    assert codes(ended) == set()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"helped": None}, "unproven_action"),
        ({"helped": False}, "vain_action"),
        ({"status": Action.Status.FAILED, "helped": None}, "vain_action"),
        ({"status": Action.Status.UNKNOWN, "helped": None}, "unknown_action"),
        ({"status": Action.Status.EXPIRED, "executing_at": None}, "expired"),
    ],
)
def test_an_action_without_a_good_record_is_left_to_do(
    ended: Incident, change: dict[str, Any], code: str
) -> None:
    Action.objects.update(**change)
    assert code in codes(ended)


def test_while_the_proof_is_watched_its_outcome_is_left_to_nobody(ended: Incident) -> None:
    Incident.objects.update(status="proving", verdict=None, closed_at=None, resolution_seconds=None)
    Action.objects.update(helped=None)
    assert "unproven_action" not in codes(ended)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"verdict": Verdict.UNKNOWN}, "unproven"),
        ({"verdict": Verdict.NOT_FIXED}, "unfixed"),
        ({"verdict": Verdict.FALSE_ALARM}, "false_alarm"),
        ({"certainty": "INCONCLUSIVE"}, "cause"),
        ({"rating": "wrong", "rated_by": "bob"}, "cause"),
        ({"reopened": 2}, "flapping"),
    ],
)
def test_what_the_incident_leaves_to_do(ended: Incident, fields: dict[str, Any], code: str) -> None:
    Incident.objects.update(**fields)
    assert code in codes(ended)


def test_a_missing_runbook_a_lost_message_and_a_problem_are_told(ended: Incident) -> None:
    ended.episodes.update(annotations={})
    Notification.objects.create(
        incident=ended, kind="ended", dedup_key="k", channel="json-1", title="t", body="b", state=State.DEAD
    )
    problem = Problem.objects.create(
        signature="s", title="ServiceDown", last_seen_at=timezone.now(), proposal="give it more memory"
    )
    problem.incidents.add(ended)
    told = {each.code: each.text for each in postmortem.of(fresh(ended)).follow_ups}
    assert {"no_runbook", "not_told", "problem"} <= set(told)
    assert told["problem"].endswith("give it more memory")
    assert "json-1" in told["not_told"]


# --- who sees what ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/incidents/{}/postmortem", "/incidents/{}/postmortem.md"])
def test_what_tools_gave_out_is_for_operators(ended: Incident, person: Any, path: str) -> None:
    operators = person(staff=True).get(path.format(ended.pk)).content.decode()
    viewers = person(name="vera").get(path.format(ended.pk)).content.decode()
    for secret in (QUOTE, "secret-looking result"):
        assert secret in operators
        assert secret not in viewers
    assert "the kernel killed it" in viewers
    assert "secret-looking output" not in operators


def test_the_api_has_its_parts_and_the_markdown(ended: Incident, api: Any) -> None:
    path = f"/api/v1/incidents/{ended.pk}/postmortem"
    told = api("operator").get(path).json()
    assert told["impact"]["since"] == "2026-11-23T04:00:00Z"
    assert told["changes"][0]["result"] == "secret-looking result"
    assert told["cause"]["claims"][0]["quote"] == QUOTE
    assert told["markdown"].startswith(f"# Postmortem of incident {ended.pk}")
    viewers = api("viewer").get(path).json()
    assert viewers["cause"]["claims"][0]["quote"] is None
    assert (viewers["changes"][0]["result"], QUOTE in viewers["markdown"]) == (None, False)


def test_what_is_not_known_yet_is_null_over_the_api(api: Any) -> None:
    told = api("viewer").get(f"/api/v1/incidents/{an_incident(status='new').pk}/postmortem").json()
    names = ("text", "by", "certainty", "crews", "rating", "rated_by", "note")
    assert {name: told["cause"][name] for name in names} == dict.fromkeys(names)
    assert (told["ending"]["note"], told["ending"]["seen"], told["summary"]["written_at"]) == (None,) * 3


def test_a_file_is_named_after_the_incident(ended: Incident, person: Any) -> None:
    answer = person().get(f"/incidents/{ended.pk}/postmortem.md")
    assert answer["Content-Disposition"] == f'attachment; filename="postmortem-{ended.pk}.md"'
    assert answer["Content-Type"] == "text/markdown; charset=utf-8"


def test_reading_it_takes_as_many_statements_for_many_rows_as_for_few(
    ended: Incident, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        an_episode(ended, target=a_target(f"web{number}"))
        events.record(ended, Event.Kind.NOTED, "alice", f"note {number}")
    with django_assert_max_num_queries(32):
        markdown(postmortem.of(fresh(ended)))


def test_no_memory_entry_and_no_row_is_made_by_reading(ended: Incident) -> None:
    counts = [model.objects.count() for model in (Event, Step, CrewRun, MemoryEntry)]
    postmortem.of(ended)
    assert counts == [model.objects.count() for model in (Event, Step, CrewRun, MemoryEntry)]
