"""`manage.py policy TARGET` and the admin: what the door would say of a target, without an incident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from agents import foresight, pauses
from agents.kinds import ActionKind
from agents.models import Action, Autonomy
from incidents.access import create_token
from incidents.models import Event, Target
from tests.agents.rows import an_action
from tests.agents.test_maintenance import entry
from tests.incidents.rows import a_target
from tests.storm.engine import Engine

pytestmark = pytest.mark.django_db
KEY = "docker:nas/shop"


@pytest.fixture
def engine(settings: Any) -> Iterator[Engine]:
    with Engine("nas", ["shop", "cart"], calls=[]) as made:
        settings.DOCKER_HOSTS = {"nas": made.url}
        yield made


@pytest.fixture
def target() -> Target:
    return a_target("shop", "nas")


def policy(*arguments: str) -> str:
    said = StringIO()
    call_command("policy", *arguments, stdout=said)
    return said.getvalue()


def effects(target: Target) -> dict[str, tuple[str, set[str]]]:
    return {
        each.kind.value: (each.decision.effect, {reason.code for reason in each.decision.reasons})
        for each in foresight.answers(target)
    }


def test_it_says_for_each_kind_what_would_be_and_why(engine: Engine, target: Target) -> None:
    said = policy(KEY)
    assert f"restart_container {KEY}: would ask, because REMEDIATION_MODE is approve" in said
    assert f"start_container {KEY}: would refuse, because " in said
    assert "it runs already" in said
    assert "it depends on the incident: that an alert of the incident names the target" in said
    assert f"create_silence {KEY}: would refuse, because " in said  # no Alertmanager
    assert [call for call in engine.calls if call.method == "POST"] == []
    assert not Action.objects.exists()
    assert not Event.objects.exists()


def test_it_reads_the_state_of_now(engine: Engine, target: Target, settings: Any) -> None:
    settings.REMEDIATION_MODE = "auto"
    assert effects(target)["restart_container"] == ("allow", set())
    assert effects(target)["stop_container"] == ("ask", {"stops"})
    engine.stop("shop")
    assert effects(target)["restart_container"] == ("ask", {"stopped"})
    assert effects(target)["start_container"] == ("ask", {"stopped"})
    assert effects(target)["stop_container"] == ("refuse", {"stops", "stands"})


def test_every_brake_is_told(engine: Engine, target: Target, settings: Any) -> None:
    settings.REMEDIATION_MODE, settings.PROTECTED_TARGETS = "observe", [KEY]
    settings.REMEDIATION_ACTIONS = {"restart_container": "off"}
    pauses.pause(scope="host:nas", until=None, by="alice", reason="the disk is changed")
    an_action(target=target, status="done", executing_at=timezone.now() - timedelta(minutes=1))
    _, codes = effects(target)["restart_container"]
    assert codes == {"observe", "kind_off", "protected", "paused", "cooldown"}


def test_what_was_declared_and_configured_is_there(engine: Engine, target: Target, settings: Any) -> None:
    settings.MAINTENANCE, settings.ALERTMANAGER_URL = (entry(),), "http://alertmanager"
    said = policy(KEY, "--action", "run_maintenance")
    assert said.startswith(f"run_maintenance {KEY}: would ask")
    assert "which is run: prune" in said
    assert effects(target)["create_silence"] == ("ask", {"approve", "silences"})


def test_a_pair_that_a_person_raised_is_told(engine: Engine, target: Target) -> None:
    Autonomy.objects.create(
        kind="restart_container", target_kind="docker", alert_name="Down", level=Autonomy.Level.ALONE
    )
    assert "which alert it is: for Down it need not ask" in policy(KEY, "--action", "restart_container")


def test_an_engine_that_is_away_is_told(target: Target) -> None:
    answer = foresight.answers(target, [ActionKind.RESTART_CONTAINER])[0]
    assert answer.text.startswith("would refuse, because its state cannot be read: no Docker host")


def test_as_json(engine: Engine, target: Target) -> None:
    said = json.loads(policy(KEY, "--json"))
    assert said["target"] == KEY
    assert [each["action"] for each in said["answers"]] == ActionKind.values
    first = said["answers"][0]
    assert (first["effect"], first["reasons"][0]["code"]) == ("ask", "approve")


def test_an_unknown_target_is_answered_with_candidates(target: Target) -> None:
    with pytest.raises(CommandError, match=r"'shop' is not in the inventory; did you mean docker:nas/shop\?"):
        policy("shop")
    with pytest.raises(CommandError, match=r"did you mean docker:nas/shop\?"):
        policy("docker:nas/shpo")
    with pytest.raises(CommandError, match="the inventory has nothing like it"):
        policy("zebra")


def test_the_targets_page_in_the_admin_shows_the_same(engine: Engine, target: Target) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/admin/incidents/target/{target.pk}/change/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "What homelab may do" in text
    assert "would ask, because REMEDIATION_MODE is approve" in text
    assert "it runs already" in text


def test_the_api_says_the_same_to_a_viewer(engine: Engine, target: Target, settings: Any) -> None:
    path = f"/api/v1/targets/{target.pk}/policy"
    _, secret = create_token(name="reader", role="viewer")
    said = Client().get(path, headers={"Authorization": f"Bearer {secret}"})
    assert said.json() == [each.as_json() for each in foresight.answers(target)]
    settings.OPEN_READ = True
    assert Client().get(path).status_code == 401  # who may only look does not make us ask an engine
    missing = Client().get("/api/v1/targets/9999/policy", headers={"Authorization": f"Bearer {secret}"})
    assert missing.status_code == 404


def test_a_thing_that_is_no_container_or_gone_has_answers_too(engine: Engine) -> None:
    host = Target.objects.create(key="docker_host:nas", kind="docker_host", host="nas", name="")
    gone = Target.objects.create(
        key="docker:nas/old", kind="docker", host="nas", name="old", gone_at=timezone.now()
    )
    for each in (host, gone):
        assert effects(each)["restart_container"][0] == "refuse"
        assert "not_for_it" in effects(each)["restart_container"][1]
