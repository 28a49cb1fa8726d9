"""Autonomy is earned by outcomes, offered in words, raised by people alone, and lost by one failure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from agents import ledger, policy, questions, services
from agents.models import Action, ActionKind, Autonomy, Step
from agents.reading import ExpressionState
from incidents import services as incident_services
from incidents.models import Event, Incident, Notification, Verdict
from tests.agents.crew_world import ALERT, CrewWorld, fresh, work, world
from tests.agents.rows import a_run, an_action
from tests.agents.test_executor import RUNNING
from tests.conftest import Api
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db
PAIR: dict[str, Any] = {"kind": ActionKind.RESTART_CONTAINER, "target_kind": "docker", "alert_name": ALERT}


def pair() -> Any:
    """The pair, with its record."""
    return ledger.with_record().get(**PAIR)


def raised(by: str = "alice") -> Autonomy:
    row, _ = Autonomy.objects.get_or_create(**PAIR)
    ledger.decide(row, "raise", by=by)
    return row


def told(begins: str) -> list[str]:
    return list(Notification.objects.filter(title__startswith=begins).values_list("title", flat=True))


def earned(world: CrewWorld, times: int) -> list[Incident]:
    """So many incidents, each of a container of its own, each approved and verified."""
    first = Incident.objects.count()
    return [world.trouble(f"web{first + number}", by="alice") for number in range(times)]


# --- what a raise means, by mode -----------------------------------------------------------------


def test_in_approve_it_asks_until_a_person_raises_the_pair(world: CrewWorld) -> None:
    assert world.trouble("web").status == "awaiting_approval"
    assert world.restarted == []
    raised(by="alice")
    incident = world.trouble("db")
    assert (world.restarted, incident.verdict) == (["db"], Verdict.VERIFIED)
    action = incident.actions.get()
    assert (action.decided_by, action.by_person) == ("policy", False)
    assert "alice said on" in incident.events.get(kind=Event.Kind.ALLOWED).text


@pytest.mark.parametrize(
    "other", [{"alert_name": "AnotherAlert"}, {"target_kind": "lxc"}, {"kind": ActionKind.START_CONTAINER}]
)
def test_a_raise_is_for_its_pair_alone(world: CrewWorld, other: dict[str, str]) -> None:
    row = Autonomy.objects.create(**{**PAIR, **other})
    ledger.decide(row, "raise", by="alice")
    assert world.trouble("web").status == "awaiting_approval"


def test_observe_refuses_what_was_raised(world: CrewWorld, settings: Any) -> None:
    raised()
    settings.REMEDIATION_MODE = "observe"
    assert world.trouble("web").actions.get().status == Action.Status.REFUSED


def test_auto_asks_for_what_was_lowered_until_a_person_raises_it(world: CrewWorld, settings: Any) -> None:
    settings.REMEDIATION_MODE, world.mends = "auto", False
    assert world.trouble("web").verdict == Verdict.NOT_FIXED
    world.mends = True
    asked = world.trouble("db")
    assert asked.status == "awaiting_approval"
    assert "did not help" in asked.actions.get().decision[0]["text"]
    ledger.decide(pair(), "raise", by="alice")
    assert world.trouble("mail").verdict == Verdict.VERIFIED


def test_a_raise_opens_nothing_else_that_asks_or_refuses(world: CrewWorld) -> None:
    raised()
    target = a_target("web")
    incident = an_incident(target=target, alert_name=ALERT)
    an_episode(incident)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    draft = services.draft(healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="", state=RUNNING)
    for fault, effect in (
        (ExpressionState.FIRING, "allow"),
        (ExpressionState.UNKNOWN, "ask"),
        (ExpressionState.CLEARED, "refuse"),
    ):
        said = policy.authorize(draft, state=RUNNING, fault=fault, fault_reason="", approved=False)
        assert said.effect == effect


def test_what_is_lowered_between_the_yes_and_the_call_is_not_done(world: CrewWorld) -> None:
    row = raised()

    def lower(episode: Any) -> ExpressionState:
        if Action.objects.filter(status=Action.Status.APPROVED).exists():
            ledger.decide(row, "lower", by="bob")
        return ExpressionState.FIRING

    world.seen = lower
    assert world.breaks("web").actions.get().status == Action.Status.WITHDRAWN
    assert world.restarted == []


# --- offers ---------------------------------------------------------------------------------------


def test_eight_verified_are_offered_in_the_closing_message_once(world: CrewWorld) -> None:
    *before, last = earned(world, 9)
    texts = {incident.pk: incident.notifications.order_by("-pk").first().body for incident in (*before, last)}
    offering = [pk for pk, text in texts.items() if "stop asking?" in text]
    assert offering == [before[7].pk]
    assert f"restart container for {ALERT} (docker): 8 of 8 verified since" in texts[before[7].pk]
    assert ledger.offer_of(pair()) is not None
    assert ledger.offer_of(pair()).startswith("9 of 9 verified since")


def test_what_nobody_approved_earns_nothing(world: CrewWorld, settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER, settings.REMEDIATION_MODE = 2, "auto"
    for name in ("a", "b", "c"):
        world.trouble(name)
    settings.REMEDIATION_MODE = "approve"
    world.trouble("d", by="alice")
    assert (pair().verified, pair().approved, ledger.offer_of(pair())) == (4, 1, None)


def test_a_failure_among_them_makes_the_counting_begin_anew(world: CrewWorld, settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER = 2
    earned(world, 2)
    assert len(ledger.offered()) == 1
    world.mends = False
    world.trouble("broken", by="alice")
    world.mends = True
    assert ledger.offered() == []
    earned(world, 1)
    assert (pair().verified, ledger.offer_of(pair())) == (1, None)
    earned(world, 1)
    assert str(ledger.offer_of(pair())).startswith("2 of 2 verified")


def test_an_offer_comes_again_when_twice_as_many_are_verified(world: CrewWorld, settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER = 2
    earned(world, 2)
    ledger.decide(pair(), "decline", by="alice")
    assert (ledger.offered(), pair().declined_by) == ([], "alice")
    earned(world, 1)
    assert ledger.offered() == []
    earned(world, 1)
    assert [ledger.record_of(each).verified for each in ledger.offered()] == [4]


def test_an_offer_comes_again_a_month_after_a_no(world: CrewWorld, settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER = 2
    earned(world, 2)
    ledger.decide(pair(), "decline", by="alice")
    Autonomy.objects.update(declined_at=timezone.now() - timedelta(days=30))
    Autonomy.objects.update(offered_at=timezone.now() - timedelta(days=31))
    earned(world, 1)
    assert len(ledger.offered()) == 1


def test_nothing_is_offered_where_it_would_change_nothing(world: CrewWorld, settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER = 1
    earned(world, 1)
    settings.REMEDIATION_MODE = "auto"
    assert ledger.offered() == []
    settings.REMEDIATION_MODE = "approve"
    ledger.decide(pair(), "raise", by="alice")
    assert ledger.offered() == []


def test_what_a_person_says_was_not_us_counts_no_more(world: CrewWorld) -> None:
    incident, _ = earned(world, 2)
    incident_services.annotate(incident, by="alice", verdict=Verdict.RESOLVED_BY_HUMAN)
    assert ledger.record_of(pair()).text.startswith("1 of 2 verified")


@pytest.mark.parametrize(
    ("kind", "owner", "status"),
    [
        ("run_maintenance", "auto", 409),  # nobody has read the arguments of a later one
        ("stop_container", None, 409),
        ("stop_container", "auto", 200),
        ("restart_container", "approve", 409),
    ],
)
def test_what_is_asked_about_whatever_people_earned_is_not_raised(
    operator: Api, settings: Any, kind: str, owner: str | None, status: int
) -> None:
    settings.REMEDIATION_ACTIONS = {kind: owner} if owner else {}
    row = Autonomy.objects.create(**{**PAIR, "kind": kind})
    assert operator.post(f"/api/v1/autonomy/{row.pk}/raise").status_code == status
    row.refresh_from_db()
    assert row.is_alone == (status == 200)


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (datetime(2026, 3, 9, tzinfo=UTC), "since March"),
        (datetime(2025, 3, 9, tzinfo=UTC), "since March 2025"),
        (datetime(2026, 11, 3, tzinfo=UTC), "since 3 November"),
    ],
)
def test_the_words_of_an_offer(since: datetime, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 11, 23, tzinfo=UTC))
    assert ledger.Record(8, 8, 8, since).text == f"8 of 8 verified {words}"


# --- one failure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fails", "does not mend"])
def test_one_failure_takes_it_back_and_people_are_told_once(world: CrewWorld, how: str) -> None:
    raised()
    world.fails, world.mends = how == "fails", False
    incident = world.trouble("web")
    assert (pair().level, pair().is_lowered) == ("asks", True)
    assert f"#{incident.pk}" in pair().lowered_why
    assert len(told("asks again: restart container for")) == 1
    assert incident.events.filter(kind=Event.Kind.AUTONOMY).count() == 1
    world.fails, world.mends = False, True
    assert world.trouble("db").status == "awaiting_approval"


def test_a_raise_after_a_failure_is_not_undone_when_its_incident_ends(
    world: CrewWorld, settings: Any
) -> None:
    """The failure was known at the call; the end of its incident is not another one."""
    settings.PROOF_TIMEOUT_SECONDS = 600
    raised()
    world.fails = True
    incident = world.trouble("web")
    assert pair().is_lowered
    raised(by="bob")
    world.fails, world.down = False, set()
    work()
    assert (fresh(incident).verdict, pair().raised_by) == (Verdict.CLEARED_BEFORE_ACTION, "bob")
    assert pair().is_alone


def test_what_asked_anyway_is_no_news(world: CrewWorld) -> None:
    world.mends = False
    world.trouble("web", by="alice")
    assert pair().is_lowered
    assert told("asks again") == []


# --- whose merit ------------------------------------------------------------------------------------


def test_a_change_that_failed_gets_no_credit_for_what_cleared_by_itself(world: CrewWorld) -> None:
    world.fails = True
    incident = world.breaks("web")
    questions.approve(incident.actions.get(), by="alice")
    world.seen = lambda episode: (
        ExpressionState.CLEARED if Action.objects.get().finished_at else ExpressionState.FIRING
    )
    work()
    assert fresh(incident).verdict == Verdict.CLEARED_BEFORE_ACTION
    assert incident.actions.get().helped is False


@pytest.mark.parametrize(("status", "helped"), [("unknown", None), ("failed", False), ("done", True)])
def test_who_may_have_helped(status: str, helped: bool | None) -> None:
    action = an_action(status=status, executing_at=timezone.now(), target_state={})
    mine = action.incident.episodes.values_list("pk", flat=True)
    services.settle_outcomes(action.incident, firing=(), cleared=mine)
    action.refresh_from_db()
    assert action.helped is helped


@pytest.mark.parametrize(
    ("fault", "ended", "verdict"),
    [
        (ExpressionState.UNKNOWN, True, Verdict.CLEARED_BEFORE_ACTION),
        (ExpressionState.UNKNOWN, False, Verdict.VERIFIED),
        (ExpressionState.FIRING, True, Verdict.VERIFIED),
    ],
)
def test_what_its_sender_resolved_before_an_action_that_saw_no_fault_is_not_its_merit(
    world: CrewWorld, fault: ExpressionState, ended: bool, verdict: Verdict
) -> None:
    incident = world.breaks("web")
    world.seen = lambda episode: ExpressionState.CLEARED if world.restarted else fault
    if ended:
        incident.episodes.update(ends_at=timezone.now() - timedelta(seconds=1))
    questions.approve(incident.actions.get(), by="alice")
    work()
    assert world.restarted == ["web"]
    assert fresh(incident).verdict == verdict
    assert incident.actions.get().helped is (True if verdict == Verdict.VERIFIED else None)


# --- what comes back ----------------------------------------------------------------------------------


def test_the_third_verified_restart_of_a_target_in_a_week_withdraws_and_opens_the_recurrence(
    world: CrewWorld, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://home.example"
    raised()
    incidents = [world.trouble("web") for _ in range(3)]
    assert [each.verdict for each in incidents] == [Verdict.VERIFIED] * 3
    assert pair().is_lowered
    event = Event.objects.get(kind=Event.Kind.RECURRED)
    assert (event.incident, event.data["incidents"]) == (incidents[2], [each.pk for each in incidents])
    message = Notification.objects.get(title__contains="3 times in 7 days")
    for incident in incidents:
        assert f"https://home.example/incidents/{incident.pk}" in message.body
    assert world.trouble("web", by="alice").verdict == Verdict.VERIFIED  # it asked
    assert Event.objects.filter(kind=Event.Kind.RECURRED).count() == 1


def test_restarts_of_several_targets_or_of_long_ago_do_not_recur(world: CrewWorld) -> None:
    raised()
    world.trouble("web")
    world.trouble("db")
    Action.objects.update(executing_at=timezone.now() - timedelta(days=8))
    world.trouble("web")
    world.trouble("web")
    assert pair().is_alone
    assert not Event.objects.filter(kind=Event.Kind.RECURRED).exists()


# --- people -------------------------------------------------------------------------------------------


def test_the_api_shows_pairs_and_takes_a_persons_word(
    world: CrewWorld, settings: Any, operator: Api, viewer: Api
) -> None:
    settings.AUTONOMY_OFFER_AFTER = 1
    earned(world, 1)
    [shown] = viewer.get("/api/v1/autonomy").json()["results"]
    assert (shown["level"], shown["verified"], shown["judged"], shown["acts_alone"]) == ("asks", 1, 1, False)
    assert shown["offer"].startswith("1 of 1 verified since")
    url = f"/api/v1/autonomy/{shown['id']}"
    assert [viewer.post(f"{url}/{word}").status_code for word in ("raise", "lower", "decline")] == [403] * 3
    assert operator.post(f"{url}/decline").json()["offer"] is None
    assert operator.post(f"{url}/decline").status_code == 409
    answer = operator.post(f"{url}/raise").json()
    assert (answer["level"], answer["raised_by"], answer["acts_alone"]) == ("alone", "operator", True)
    assert operator.post(f"{url}/raise").json() == answer
    assert operator.post(f"{url}/lower").json()["lowered_why"] == "operator said so"
    kinds = Event.objects.filter(kind=Event.Kind.AUTONOMY, actor="operator")
    assert kinds.count() == 3


def test_the_pages_offer_and_take_it(world: CrewWorld, settings: Any, person: Callable[..., Client]) -> None:
    settings.AUTONOMY_OFFER_AFTER = 1
    [incident] = earned(world, 1)
    staff, guest = person(staff=True), person(name="guest")
    for url in ("/", f"/incidents/{incident.pk}"):
        assert "1 of 1 verified" in staff.get(url).content.decode()
    assert "Stop asking" not in guest.get("/").content.decode()
    assert guest.post(f"/autonomy/{pair().pk}/raise").status_code == 403
    assert staff.post(f"/autonomy/{pair().pk}/raise").status_code == 302
    assert (pair().is_alone, pair().raised_by) == (True, "robin")
    assert "1 of 1 verified" not in staff.get("/").content.decode()


def test_the_admin_says_how_many_were_raised(person: Callable[..., Client]) -> None:
    client = person(superuser=True)
    row = Autonomy.objects.create(**PAIR)
    for what, words in (
        ("raise_level", "1 raised"),
        ("raise_level", "raised before"),
        ("lower_level", "1 lowered"),
    ):
        data = {"action": what, "_selected_action": [row.pk]}
        page = client.post("/admin/agents/autonomy/", data, follow=True).content.decode()
        assert words in page


# --- whatever happens ---------------------------------------------------------------------------------

HAPPENINGS = ("verified", "not fixed", "failed", "unknown", "raise", "lower", "decline")


def happens(what: str, number: int) -> None:
    """An outcome of a change of the pair, by the door that every outcome passes; or a person's word."""
    row, _ = Autonomy.objects.get_or_create(**PAIR)
    if what in ("raise", "lower"):
        ledger.decide(row, what, by="alice")  # type: ignore[arg-type]
        return
    if what == "decline":
        if row.is_offered:
            ledger.decide(row, "decline", by="alice")
        return
    target = a_target(f"web{number}", host=f"host{number % 2}")
    incident = an_incident(status="acting", target=target, alert_name=ALERT)
    an_episode(incident)
    action = an_action(
        incident,
        target,
        alert_name=ALERT,
        status=Action.Status.EXECUTING,
        executing_at=timezone.now(),
        by_person=True,
    )
    if what == "failed":
        services.change(action, Action.Status.FAILED)
        return
    services.change(action, Action.Status.UNKNOWN if what == "unknown" else Action.Status.DONE)
    seen = set(incident.episodes.values_list("pk", flat=True))
    verified = what != "not fixed"
    services.settle_outcomes(incident, firing=() if verified else seen, cleared=seen if verified else ())


def decision(number: int) -> str:
    """What `authorize()` says to the pair's next change, with nothing else in the way."""
    Action.objects.filter(status=Action.Status.EXECUTING).update(status=Action.Status.DONE)
    target = a_target(f"next{number}")
    incident = an_incident(target=target, alert_name=ALERT)
    an_episode(incident)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    draft = services.draft(healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="", state=RUNNING)
    fault = ExpressionState.FIRING
    said = policy.authorize(draft, state=RUNNING, fault=fault, fault_reason="", approved=False)
    return "ask" if any(reason.code in ("approve", "lowered") for reason in said.reasons) else "alone"


@pytest.mark.parametrize("mode", ["approve", "auto"])
@given(story=st.lists(st.sampled_from(HAPPENINGS), max_size=8))
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_acts_alone_without_a_raise_and_a_failure_always_lowers(
    mode: str, story: list[str], settings: Any
) -> None:
    settings.REMEDIATION_MODE, settings.AUTONOMY_OFFER_AFTER = mode, 2
    settings.CHANGES_PER_HOUR = settings.RESTARTS_PER_HOUR = 1000
    alone = mode == "auto"
    with transaction.atomic():
        for number, what in enumerate(story):
            happens(what, number)
            if what == "raise":
                alone = True
            elif what in ("lower", "failed", "not fixed"):
                alone = False
            assert decision(number) == ("alone" if alone else "ask"), story[: number + 1]
        transaction.set_rollback(True)
