"""Looks at many alerts: bounded, about the right ones, and judged only by who still may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from agents import cases, crew, judgement, proof, reasoners, services, watch
from agents.advance import advance
from agents.models import Action, CrewRun, Step
from agents.reading import ExpressionState
from agents.tools import docker, prometheus_client
from agents.tools.base import ToolError
from agents.tools.prometheus_client import OneLook
from incidents import services as incident_services
from incidents.models import Episode, Incident, Target, Verdict
from incidents.queue import State
from tests.agents.fake_prometheus import FakePrometheus, serving
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import START, a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
FIRING, CLEARED, UNKNOWN = ExpressionState.FIRING, ExpressionState.CLEARED, ExpressionState.UNKNOWN
MINE = {"instance": "nas:9100"}
LONG_AGO = 1_000.0


@pytest.fixture
def fake(settings: Any) -> Iterator[FakePrometheus]:
    """A Prometheus with no rules; its clock is a little after the alerts' start."""
    made = FakePrometheus(now=START.timestamp() + 60, paths={"rules": {"groups": []}})
    with serving(made):
        settings.PROMETHEUS_URL = made.url
        yield made


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Alerts whose fingerprint says so fire, others are clear; which were looked at, in order."""
    looked: list[int] = []

    def look(self: proof.Watcher, episode: Episode) -> judgement.Look:
        looked.append(episode.pk)
        state = FIRING if episode.fingerprint.startswith("bad") else CLEARED
        return judgement.Look(state, episode.fingerprint)

    monkeypatch.setattr(proof.Watcher, "look", look)
    return looked


def link(expression: str) -> str:
    return "http://p:9090/graph?" + urlencode({"g0.expr": expression})


def a_watch(incident: Incident, **progress: Any) -> Step:
    """The proof's step of an incident's run, due now."""
    run = incident.runs.first() or a_run(incident)
    begun = replace(proof.begin(incident), **progress)
    return services.add_step(run, Step.Agent.PROOF, output=begun.as_json())


def sees(monkeypatch: pytest.MonkeyPatch, state: ExpressionState) -> None:
    monkeypatch.setattr(
        proof, "observe", lambda incident, progress=None: judgement.Look(state, "so it looks")
    )


# --- one look at many alerts -------------------------------------------------------------------


def test_a_prometheus_that_is_away_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PROMETHEUS_URL = "http://prometheus"
    incident = an_incident(status="proving")
    for _ in range(20):
        an_episode(incident, generator_url=link("up == 0"))
    waited: list[float] = []

    def hang(url: str, params: Any = None, *, deadline: float) -> Any:
        waited.append(deadline)
        raise ToolError("no answer", retryable=True)

    monkeypatch.setattr(prometheus_client, "get_json", hang)
    look = proof.observe(incident)
    assert (look.state, look.reason, look.away) == (UNKNOWN, "no answer", True)
    assert sum(waited) <= 12
    step = a_watch(incident)
    advance(step.pk)
    step.refresh_from_db()
    assert (step.due_at - timezone.now()).total_seconds() > watch.QUICK_SECONDS


def test_a_look_has_a_deadline_for_all_of_it(fake: FakePrometheus) -> None:
    client = OneLook(fake.url, seconds=0.2)
    assert client.instant("up") == []
    time.sleep(0.25)
    with pytest.raises(ToolError, match=r"longer than 0\.2 s"):
        client.instant("down")
    assert len(fake.asked) == 1


def test_what_several_alerts_want_to_know_is_asked_once_a_look(fake: FakePrometheus) -> None:
    incident = an_incident(status="proving")
    for _ in range(5):
        an_episode(incident, generator_url=link("up == 0"))
    fake.samples["up"] = [(MINE, fake.now)]
    assert proof.observe(incident).state is CLEARED
    asked = [params.get("query", path) for path, params in fake.asked]
    assert asked == ["rules", "time()", "up == 0", "timestamp(up)"]


def test_who_shares_a_look_asks_nothing_twice(fake: FakePrometheus) -> None:
    incident = an_incident(status="proving")
    an_episode(incident, generator_url=link("up == 0"))
    with prometheus_client.sharing(proof.new_look()):
        first = proof.observe(incident)
        asked = len(fake.asked)
        assert proof.observe(incident) == first
        assert len(fake.asked) == asked
    proof.observe(incident)
    assert len(fake.asked) == 2 * asked


def test_what_fires_beyond_a_look_is_not_cleared(seen: list[int]) -> None:
    incident = an_incident(status="proving")
    for number in range(25):
        an_episode(incident, fingerprint=f"ok{number}")
    look = proof.observe(incident)
    assert (look.state, len(seen)) == (UNKNOWN, proof.MAX_EPISODES)
    assert look.reason.startswith("5 more alerts are firing")


def test_all_alerts_have_their_turn_and_the_firing_ones_the_first(seen: list[int]) -> None:
    incident = an_incident(status="proving")
    for number in range(45):
        an_episode(incident, fingerprint=f"ok{number}", ends_at=timezone.now())
    firing = an_episode(incident, fingerprint="bad")
    progress = proof.begin(incident)
    for looks in range(3):
        look = proof.observe(incident, replace(progress, looks=looks))
        assert (look.state, look.firing) == (FIRING, (firing.pk,))
    assert set(seen) == set(incident.episodes.values_list("pk", flat=True))


def test_the_fault_of_a_target_is_not_its_neighbours(seen: list[int]) -> None:
    mine, other = a_target("mine"), a_target("other")
    incident = an_incident(status="proving", target=mine)
    an_episode(incident, target=other, fingerprint="bad2")
    assert proof.observe_target(incident, mine).state is UNKNOWN
    assert proof.observe_target(incident, other).state is FIRING


def test_an_alert_is_not_proved_by_the_container_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    target = a_target()
    incident = an_incident(target=target)
    mine, other = an_episode(incident), an_episode(incident, target=None)
    down = SimpleNamespace(running=False, status="exited", health=None)
    monkeypatch.setattr(docker, "resolve", lambda key: ("docker2", "jellyfin"))
    monkeypatch.setattr(docker, "inspect_container", lambda host, name: down)
    proof.adopt_state_checks(cases.alerts_of(incident))
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.condition, other.condition) == ({"container": target.key}, None)


def test_of_an_ended_alert_the_rule_of_today_is_asked(fake: FakePrometheus) -> None:
    """The threshold was raised: the old expression stays true, and nobody is alerted any more."""
    rule = {"type": "alerting", "name": "ServiceDown", "query": "load > 9"}
    fake.paths["rules"] = {"groups": [{"name": "g", "rules": [rule]}]}
    fake.rows["load > 5"], fake.samples["load"] = [(MINE, 7)], [(MINE, fake.now)]
    incident = an_incident(status="proving")
    episode = an_episode(incident, generator_url=link("load > 5"))
    assert proof.observe(incident).state is FIRING
    Episode.objects.filter(pk=episode.pk).update(ends_at=timezone.now())
    assert proof.observe(incident).state is CLEARED
    rule["labels"] = {"severity": "another"}  # type: ignore[assignment]
    assert proof.observe(incident).state is FIRING


# --- who gives the verdict, and when -------------------------------------------------------------


def test_no_verdict_while_the_crew_is_at_another_target(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = an_incident(status="proving", target=a_target())
    an_episode(incident)
    step = a_watch(incident, action="done", began_at=LONG_AGO)
    healer = services.add_step(step.run, Step.Agent.HEALER)
    sees(monkeypatch, FIRING)
    advance(step.pk)
    incident.refresh_from_db()
    assert incident.verdict is None
    Step.objects.filter(pk=healer.pk).update(state=State.DONE)
    Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
    advance(step.pk)
    incident.refresh_from_db()
    assert incident.verdict is None  # the patience began anew


def test_who_lost_the_lease_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = an_incident(status="proving")
    an_episode(incident)
    step = a_watch(incident, cleared_since=LONG_AGO)

    def look(incident: Incident, progress: Any = None) -> judgement.Look:
        Step.objects.filter(pk=step.pk).update(fence=99)
        return judgement.Look(CLEARED, "no longer true")

    monkeypatch.setattr(proof, "observe", look)
    advance(step.pk)
    incident.refresh_from_db()
    assert incident.verdict is None


def test_a_look_that_an_action_overtook_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """It began before the action, and knows nothing of it; the watch after the action judges."""
    incident = an_incident(status="proving")
    an_episode(incident)
    step = a_watch(incident, cleared_since=LONG_AGO)

    def look(incident: Incident, progress: Any = None) -> judgement.Look:
        a_watch(incident, action="done")
        return judgement.Look(CLEARED, "no longer true")

    monkeypatch.setattr(proof, "observe", look)
    advance(step.pk)
    step.refresh_from_db()
    incident.refresh_from_db()
    assert (incident.verdict, step.state) == (None, State.DONE)


def test_a_second_watch_keeps_what_the_first_had_to_see() -> None:
    incident = an_incident(status="proving")
    an_episode(incident)
    first = a_watch(incident, newer_than=1234.0, must_be_fresh=("up",))
    crew.begin_watch(first, incident)
    second = judgement.Progress.from_json(first.run.steps.get(agent=Step.Agent.PROOF, number=2).output or {})
    assert (second.newer_than, second.must_be_fresh) == (1234.0, ("up",))


@pytest.mark.parametrize("agent", [Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER])
def test_an_agent_of_an_ended_run_adds_nothing_to_it(
    agent: Step.Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident was closed and came back while the agent thought: another run works it now."""
    incident = an_incident(status="investigating")
    an_episode(incident)
    run = CrewRun.objects.create(incident=incident)
    step = services.add_step(run, agent)
    think = reasoners.think

    def slowly(*args: Any) -> Any:
        incident_services.close(incident, Verdict.RESOLVED_BY_HUMAN, actor="robin", note="fixed")
        incident_services.reopen(Incident.objects.get(), actor="alertmanager", text="again")
        services.start_run(incident.pk)
        return think(*args)

    monkeypatch.setattr(reasoners, "think", slowly)
    advance(step.pk)
    waiting = Step.objects.filter(run=run, state=State.WAITING).exclude(agent=Step.Agent.COMMUNICATOR)
    assert not waiting.exists()
    assert Incident.objects.get().runs.count() == 2


# --- false alarms --------------------------------------------------------------------------------


def monitored(incident: Incident) -> Incident:
    run = CrewRun.objects.create(incident=incident)
    advance(services.add_step(run, Step.Agent.MONITOR).pk)
    incident.refresh_from_db()
    return incident


@pytest.fixture
def never_true(fake: FakePrometheus) -> FakePrometheus:
    start = START.timestamp()
    fake.samples["up"] = [(MINE, start - 1), (MINE, fake.now)]
    return fake


@pytest.mark.usefixtures("never_true")
@pytest.mark.parametrize(
    ("alerts", "verdict"), [(1, Verdict.FALSE_ALARM), (2, Verdict.FALSE_ALARM), (6, None)]
)
def test_a_false_alarm_is_one_of_all_its_alerts(alerts: int, verdict: Verdict | None) -> None:
    incident = an_incident()
    for _ in range(alerts):
        an_episode(incident, generator_url=link("up == 0"))
    assert monitored(incident).verdict == verdict


def test_what_was_true_for_one_of_its_alerts_is_no_false_alarm(never_true: FakePrometheus) -> None:
    start = START.timestamp()
    never_true.samples["load"] = [(MINE, start - 1), (MINE, never_true.now)]
    never_true.ranges["load > 5"] = [(MINE, [(start, "7")])]
    incident = an_incident()
    an_episode(incident, generator_url=link("up == 0"))
    an_episode(incident, generator_url=link("load > 5"))
    assert monitored(incident).verdict is None


@pytest.mark.usefixtures("never_true")
def test_an_alert_that_joins_during_the_look_is_no_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = an_incident()
    an_episode(incident, generator_url=link("up == 0"))
    think = reasoners.think

    def slowly(*args: Any) -> Any:
        Incident.objects.update(joins=incident.joins + 1)
        return think(*args)

    monkeypatch.setattr(reasoners, "think", slowly)
    assert monitored(incident).verdict is None
    assert Step.objects.filter(agent=Step.Agent.ANALYST).exists()


def acted_on(target: Target, other: Target) -> tuple[Step, Action]:
    """A watch after a restart of `target`, in an incident that has alerts about both."""
    incident = an_incident(status="proving", target=target)
    an_episode(incident, target=target, fingerprint="mine")
    an_episode(incident, target=other, fingerprint="other")
    action = an_action(
        incident, target, status=Action.Status.DONE, executing_at=timezone.now(), expires_at=None
    )
    run = action.step.run
    for each in (target, other):  # the crew has looked at both
        done = {"agent": "analyst", "state": "done", "output": {}}
        Step.objects.create(run=run, number=10 + each.pk, focus=each, **done)
    progress = proof.begin(incident, action="done")
    old = replace(progress, began_at=time.time() - 3600, looked_at=time.time())
    return services.add_step(run, Step.Agent.PROOF, output=old.as_json()), action


@pytest.mark.parametrize(("states", "verdict", "helped"), [("cf", None, None), ("ff", "not_fixed", False)])
def test_a_neighbour_that_still_fires_says_nothing_of_what_was_done(
    monkeypatch: pytest.MonkeyPatch, states: str, verdict: str | None, helped: bool | None
) -> None:
    mine, other = a_target("mine"), a_target("other")
    step, action = acted_on(mine, other)
    known = {"c": CLEARED, "f": FIRING}
    by_name = {"mine": known[states[0]], "other": known[states[1]]}
    monkeypatch.setattr(
        proof.Watcher, "look", lambda self, episode: judgement.Look(by_name[episode.fingerprint], "seen")
    )
    advance(step.pk)
    action.refresh_from_db()
    assert (action.incident.verdict, action.helped) == (verdict, helped)


def test_each_action_is_judged_by_its_own_targets_alerts() -> None:
    mine, other = a_target("mine"), a_target("other")
    _, action = acted_on(mine, other)
    episodes = {each.fingerprint: each.pk for each in action.incident.episodes.all()}
    services.settle_outcomes(action.incident, firing=[episodes["other"]], cleared=[episodes["mine"]])
    action.refresh_from_db()
    assert action.helped is True


def test_where_nothing_can_be_proved_every_target_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, other = a_target("mine"), a_target("other")
    step, action = acted_on(mine, other)
    Step.objects.filter(run=step.run, focus=other).delete()
    monkeypatch.setattr(proof.Watcher, "look", lambda self, episode: judgement.Look(UNKNOWN, "no Prometheus"))
    advance(step.pk)
    assert step.run.steps.filter(agent="analyst", focus=other, state="waiting").exists()
    assert action.incident.verdict is None
