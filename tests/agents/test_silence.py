"""A silence: of exactly the incident's own alert, with an end, made once, and never a success."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from django.db import transaction
from django.utils import timezone

from agents import actions, judgement, proof, services
from agents.advance import advance
from agents.kinds import ActionKind
from agents.models import Action, Step
from agents.policy import authorize
from agents.reading import ExpressionState
from agents.tools import alertmanager
from agents.tools.base import ToolError
from incidents.models import Incident
from tests.agents.rows import a_run
from tests.agents.test_container_changes import Killed, status
from tests.e2e.process import wait_until
from tests.e2e.require import require
from tests.e2e.servers import Alertmanager
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = [pytest.mark.django_db, pytest.mark.e2e]
KIND = ActionKind.CREATE_SILENCE
LABELS = {"alertname": "DiskFull", "instance": "nas:9100", "path": 'a"b\\c', "severity": "warning"}
Make = Callable[..., tuple[Action, Step]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    require("alertmanager")
    folder = tmp_path_factory.mktemp("alertmanager")
    with Alertmanager(folder, webhook_url="http://127.0.0.1:9/alert", token="t") as made:
        yield made


@pytest.fixture
def firing(server: Alertmanager, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Alertmanager:
    """An Alertmanager with the alert, and a neighbour that is nearly the same; no silences are in force."""
    settings.ALERTMANAGER_URL, settings.REMEDIATION_MODE = server.url, "auto"
    look = judgement.Look(ExpressionState.FIRING, "the expression is true")
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: look)
    monkeypatch.setattr(proof, "observe_target", lambda incident, target: look)
    for each in silences(server):
        server.request("DELETE", f"/api/v2/silence/{each['id']}")
    server.post_alert(LABELS)
    server.post_alert({**LABELS, "path": "other"})
    wait_until(lambda: len(alertmanager.alerts_with({"alertname": "DiskFull"})) == 2, 20, "no alerts")
    return server


def silences(server: Alertmanager) -> list[dict[str, Any]]:
    found = requests.get(f"{server.url}/api/v2/silences", timeout=10).json()
    return [each for each in found if each["status"]["state"] != "expired"]


@pytest.fixture
def incident() -> Incident:
    target = a_target()
    made = an_incident(status="acting", target=target, alert_name="DiskFull")
    an_episode(made, labels=LABELS)
    return made


def wish(incident: Incident, **given: Any) -> Action:
    action = Action(kind=KIND, target=incident.target, incident=incident)
    action.arguments = actions.prepared(action, given)
    return action


@pytest.fixture
def approved(firing: Alertmanager, incident: Incident) -> Make:
    def make(**given: Any) -> tuple[Action, Step]:
        made = wish(incident, **given)
        healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
        assert incident.target is not None
        action = services.draft(
            healer,
            kind=KIND,
            target=incident.target,
            reason="known",
            state=actions.spec_of(made).state(made),
            arguments=made.arguments,
        )
        action.status, action.decided_by, action.by_person = Action.Status.APPROVED, "alice", True
        action.save()
        with transaction.atomic():
            return action, services.add_step(healer.run, Step.Agent.EXECUTOR, output={"action": action.pk})

    return make


def test_it_silences_the_incidents_own_alert_and_no_other(approved: Make, firing: Alertmanager) -> None:
    action, step = approved(minutes=30)
    before = datetime.now(UTC)
    advance(step.pk)
    advance(step.pk)
    assert status(action) == Action.Status.DONE
    [made] = silences(firing)
    assert made["id"] in action.result
    assert made["createdBy"] == "homelab"
    assert f"incident #{action.incident_id}" in made["comment"]
    assert {each["name"]: each["value"] for each in made["matchers"]} == LABELS
    assert all(each["isEqual"] and not each["isRegex"] for each in made["matchers"])
    lasts = datetime.fromisoformat(made["endsAt"]) - before
    assert timedelta(minutes=29) < lasts < timedelta(minutes=31)
    wait_until(lambda: not alertmanager.alerts_with(LABELS), 20, "it is not silenced")
    assert [each.labels["path"] for each in alertmanager.active_alerts()] == ["other"]


def test_it_is_no_repair_and_its_incident_is_watched_on(approved: Make, incident: Incident) -> None:
    action, step = approved()
    advance(step.pk)
    incident.refresh_from_db()
    assert (incident.status, incident.remediation_taken) == ("proving", None)
    assert step.run.steps.get(agent=Step.Agent.PROOF).output["action"] == "none"
    episodes = list(incident.episodes.values_list("pk", flat=True))
    with transaction.atomic():
        services.settle_outcomes(incident, firing=[], cleared=episodes)
    action.refresh_from_db()
    assert action.helped is None


@pytest.mark.parametrize("happened", [True, False])
def test_a_worker_killed_in_the_call_is_reconciled_by_its_own_silence(
    approved: Make, firing: Alertmanager, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    action, step = approved()
    spec = actions.SPECS[KIND]

    def die(action: Action) -> None:
        if happened:
            spec.run(action)
        raise Killed

    # another's silence of the same alert is no sign of ours
    now = timezone.now()
    firing.request(
        "POST",
        "/api/v2/silences",
        json={
            "matchers": [{"name": "alertname", "value": "Other", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "alice",
            "comment": "mine",
        },
    )
    with monkeypatch.context() as patch:
        patch.setitem(actions.SPECS, KIND, replace(spec, run=die))
        with pytest.raises(Killed):
            advance(step.pk)
    made = len(silences(firing))
    long_ago = timezone.now() - timedelta(minutes=10)
    Action.objects.filter(pk=action.pk).update(executing_at=long_ago)
    Step.objects.filter(pk=step.pk).update(lease_until=long_ago)
    advance(step.pk)
    assert status(action) == (Action.Status.DONE if happened else Action.Status.UNKNOWN)
    assert len(silences(firing)) == made == 1 + happened


def test_the_dry_run_tells_what_matches_now(firing: Alertmanager, incident: Incident) -> None:
    said = actions.dry_run(wish(incident))
    assert 'alertname="DiskFull"' in said
    assert "for 60 min from then on; now these are 1: " in said
    assert said.endswith("It mends nothing; the incident stays open")
    assert silences(firing) == []


def test_what_alertmanager_does_not_list_cannot_be_silenced(firing: Alertmanager, incident: Incident) -> None:
    incident.episodes.update(labels={"alertname": "FromElsewhere"})
    made = wish(incident)
    with pytest.raises(ToolError, match="has no active alert with these labels"):
        actions.spec_of(made).state(made)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"minutes": 241}, "at most 240"),
        ({"minutes": 0}, "greater than or equal to 1"),
        ({"minutes": -5}, "greater than or equal to 1"),
        ({"minutes": "for ever"}, "valid integer"),
        ({"labels": {"alertname": ".*"}}, "takes minutes, not labels"),
        ({"matchers": []}, "takes minutes, not matchers"),
    ],
)
def test_nobody_chooses_what_is_silenced_or_for_ever(
    firing: Alertmanager, incident: Incident, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ToolError, match=told):
        wish(incident, **given)


def test_an_alert_that_is_over_or_of_another_target_is_not_silenced(
    firing: Alertmanager, incident: Incident
) -> None:
    incident.episodes.update(ends_at=timezone.now())
    with pytest.raises(ToolError, match="no alert of this incident about docker:docker2/jellyfin is firing"):
        wish(incident)
    incident.episodes.update(ends_at=None, target=a_target("other"))
    with pytest.raises(ToolError, match="no alert of this incident"):
        wish(incident)


@pytest.mark.parametrize(
    ("mode", "declared", "effect"),
    [
        ("auto", {KIND: "auto"}, "allow"),
        ("auto", {}, "ask"),
        ("approve", {KIND: "auto"}, "ask"),
        ("observe", {KIND: "auto"}, "refuse"),
    ],
)
def test_only_the_owners_word_on_silences_lets_it_go_unasked(
    firing: Alertmanager, incident: Incident, settings: Any, mode: str, declared: dict[str, str], effect: str
) -> None:
    settings.REMEDIATION_MODE, settings.REMEDIATION_ACTIONS = mode, declared
    made = wish(incident)
    made.step = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    decision = authorize(
        made,
        state=actions.spec_of(made).state(made),
        fault=ExpressionState.FIRING,
        fault_reason="",
        approved=False,
    )
    assert decision.effect == effect


def test_what_is_refused_at_once_and_what_may_have_been_heard(
    firing: Alertmanager, incident: Incident, settings: Any
) -> None:
    now = timezone.now()
    with pytest.raises(ToolError) as refused:
        alertmanager.create_silence(
            LABELS, starts=now - timedelta(hours=2), ends=now - timedelta(hours=1), comment="late"
        )
    assert not refused.value.unanswered
    settings.ALERTMANAGER_URL = "http://127.0.0.1:9"
    with pytest.raises(ToolError) as unheard:
        alertmanager.create_silence(LABELS, starts=now, ends=now + timedelta(hours=1), comment="lost")
    assert unheard.value.unanswered
