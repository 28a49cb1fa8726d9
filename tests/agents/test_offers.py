"""What the Healer may propose, and what becomes of what cannot be: an event with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents import answers, judgement, offers, proof, reasoners, services
from agents.advance import advance
from agents.answers import Remediation, terminal_tool
from agents.kinds import ActionKind
from agents.models import Action, CrewRun, Step
from agents.reading import ExpressionState
from agents.reasoners import strict
from agents.schemas import schema_of
from incidents.models import Event, Incident, Target
from tests.agents.test_maintenance import entry
from tests.incidents.rows import a_target, an_episode, an_incident
from tests.storm.engine import Engine

CONTAINER = Target(key="docker:nas/shop", kind="docker", host="nas", name="shop")
HOST = Target(key="docker_host:nas", kind="docker_host", host="nas", name="")


def fields(target: Target | None) -> dict[str, Any]:
    found: dict[str, Any] = schema_of(offers.form(target))["properties"]
    return found


def test_only_what_there_is_for_a_target_is_offered(settings: Any) -> None:
    containers = ["restart_container", "start_container", "stop_container"]
    assert fields(CONTAINER)["action"]["enum"] == [*containers, "none"]
    assert set(fields(CONTAINER)) == {"action", "target", "reason"}
    assert fields(HOST)["action"]["enum"] == ["none"]
    assert fields(None)["action"]["enum"] == ["none"]
    settings.REMEDIATION_ACTIONS = {"stop_container": "off", "restart_container": "approve"}
    settings.ALERTMANAGER_URL = "http://alertmanager:9093"
    assert fields(CONTAINER)["action"]["enum"] == [*containers[:2], "create_silence", "none"]
    assert fields(HOST)["action"]["enum"] == ["create_silence", "none"]
    assert "minutes" in fields(HOST)


def test_the_owners_maintenance_is_offered_by_name_with_its_bounds(settings: Any) -> None:
    settings.MAINTENANCE = tuple(entry(name=f"prune{number}") for number in range(9))
    told = fields(CONTAINER)["maintenance"]["description"]
    assert "prune0 (days 1-30, depth shallow|deep|{days}): Removes old images." in told
    assert told.count("Removes") == offers.MOST_MAINTENANCE
    assert "maintenance" not in fields(HOST)


def test_every_form_is_short_strict_and_ends_the_healers_turn(settings: Any) -> None:
    settings.ALERTMANAGER_URL = "http://alertmanager:9093"
    settings.MAINTENANCE = (entry(),)
    for target in (CONTAINER, HOST, None):
        form = offers.form(target)
        assert terminal_tool(form) == "submit_remediation"
        assert strict.schema(schema_of(form)) is not None
        assert len(str(schema_of(form))) < 800
        assert form.__doc__ == Remediation.__doc__


def test_arguments_of_another_action_are_nobodys_business() -> None:
    said = Remediation(action="restart_container", reason="r", minutes=5, maintenance="x", parameters=["a=b"])
    assert said.given() == {}
    said = Remediation(action="run_maintenance", reason="r", maintenance="x", parameters=["a=b=c", "d"])
    assert said.given() == {"name": "x", "parameters": {"a": "b=c", "d": ""}}


# --- the Healer's turn -------------------------------------------------------------------------------


@pytest.fixture
def engine(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    look = judgement.Look(ExpressionState.FIRING, "the expression is true")
    monkeypatch.setattr(proof, "observe_target", lambda incident, target: look)
    with Engine("nas", ["shop"], calls=[]) as made:
        settings.DOCKER_HOSTS = {"nas": made.url}
        yield made


@pytest.fixture
def heal(engine: Engine, db: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Incident]:
    """A Healer that answers so, of an incident about `docker:nas/shop`."""

    def run(**answer: Any) -> Incident:
        target = a_target("shop", "nas")
        incident = an_incident(target=target)
        an_episode(incident)
        step = services.add_step(CrewRun.objects.create(incident=incident), Step.Agent.HEALER, focus=target)
        said = answers.Remediation(**{"target": target.key, "reason": "so", **answer})
        monkeypatch.setattr(reasoners, "think", lambda *args: said)
        advance(step.pk)
        incident.refresh_from_db()
        return incident

    return run


def refusals() -> list[tuple[str, str]]:
    rows = Event.objects.filter(kind=Event.Kind.REFUSED)
    return [(each["code"], event.text) for event in rows for each in event.data["reasons"]]


def test_a_proposal_is_kept_with_its_arguments_and_its_dry_run(heal: Any, settings: Any) -> None:
    settings.MAINTENANCE = (entry(),)
    incident = heal(action="run_maintenance", maintenance="prune", parameters=["days=7", "depth=deep"])
    assert incident.status == "awaiting_approval"
    action = Action.objects.get()
    assert action.arguments["argv"][1:] == ["--days=7", "deep", "shop"]
    assert "echo --days=7 deep shop on the worker's machine" in action.touches
    assert str(action) == "maintenance of docker:nas/shop"


def test_a_start_of_what_crashed_is_asked_about(heal: Any, engine: Engine) -> None:
    engine.crash("shop")
    assert heal(action="start_container").status == "awaiting_approval"
    assert Action.objects.get().touches.startswith("starts docker:nas/shop; ")


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ({"action": "start_container"}, "runs", "it runs already"),
        ({"action": "create_silence"}, "arguments", "there is no such change of docker:nas/shop here"),
        ({"action": "run_maintenance", "maintenance": "prune"}, "arguments", "days: is missing"),
        (
            {"action": "run_maintenance", "maintenance": "prune", "parameters": ["days=7", "depth=-rf"]},
            "arguments",
            "depth: '-rf' is none of",
        ),
        ({"action": "run_maintenance", "maintenance": "rm -rf /"}, "arguments", "no maintenance 'rm -rf /'"),
        ({"action": "restart_container", "target": "docker:nas/other"}, "unknown_target", "not in the inv"),
        ({"action": "restart_container", "target": None}, "unknown_target", "None is not in the inventory"),
    ],
)
def test_what_cannot_be_proposed_is_refused_with_a_code(
    heal: Any, settings: Any, answer: dict[str, Any], code: str, told: str
) -> None:
    settings.MAINTENANCE = (entry(),)
    incident = heal(**answer)
    assert (code, True) in [(found, told in text) for found, text in refusals()]
    assert incident.status == "proving"
    assert not Action.objects.filter(status__in=Action.OPEN).exists()


def test_an_engine_that_is_away_refuses_with_a_code(heal: Any, settings: Any) -> None:
    settings.DOCKER_HOSTS = {"nas": "tcp://127.0.0.1:9"}
    heal(action="restart_container")
    [(code, text)] = refusals()
    assert code == "unread"
    assert "cannot be reached" in text


def test_another_targets_maintenance_is_not_this_ones(heal: Any, settings: Any) -> None:
    settings.MAINTENANCE = (entry(targets=["docker:pi/*"], name="prune"),)
    heal(action="run_maintenance", maintenance="prune", parameters=["days=7", "depth=deep"])
    assert refusals()[0][0] == "arguments"


def test_a_kind_that_is_switched_off_is_refused_though_it_is_proposed(heal: Any, settings: Any) -> None:
    settings.REMEDIATION_ACTIONS = {ActionKind.RESTART_CONTAINER.value: "off"}
    heal(action="restart_container")
    assert "kind_off" in [code for code, _ in refusals()]
    assert Action.objects.get().status == Action.Status.REFUSED
