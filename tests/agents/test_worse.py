"""What made its own signal worse is told at once and counts as no help; what only looks so is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import transaction
from django.utils import timezone

from agents import communicator, proof, services, watch, worse
from agents.judgement import Look, Progress
from agents.models import Action, Autonomy, CrewRun, Step
from agents.reading import ExpressionState
from incidents.models import Incident, Notification, Target, Verdict
from tests.agents.fake_prometheus import NOW, FakePrometheus, Row, serving
from tests.agents.rows import an_action
from tests.incidents.rows import an_episode, an_incident
from tests.storm.engine import Engine

pytestmark = pytest.mark.django_db
ERRORS = 'errors{job="shop"}'
TOO_MANY = f"{ERRORS} > 10"
LABELS = {"alertname": "Errors", "instance": "shop:80", "severity": "critical"}
ROW = {"instance": "shop:80", "job": "shop"}
BEGAN, ENDED = datetime.fromtimestamp(NOW - 62, UTC), datetime.fromtimestamp(NOW - 60, UTC)


@dataclass
class Remembering(FakePrometheus):
    """`history`: from when on an expression has which rows."""

    history: dict[str, list[tuple[float, list[Row]]]] = field(default_factory=dict)

    def _instant(self, query: str, at: float) -> dict[str, Any]:
        then = [rows for since, rows in self.history.get(query, ()) if since <= at]
        self.rows[query] = then[-1] if then else self.rows.get(query, ())
        return super()._instant(query, at)


@pytest.fixture
def prometheus(settings: Any) -> Iterator[Remembering]:
    with serving(Remembering(paths={"rules": {"groups": []}})) as made:
        settings.PROMETHEUS_URL = made.url
        yield made


@pytest.fixture
def action() -> Action:
    target = Target.objects.create(key="docker:nas/shop", kind="docker", host="nas", name="shop")
    incident = an_incident(status="proving", target=target)
    an_alert(incident, LABELS)
    snapshot = {"status_class": "running", "restarting": False, "fault": "firing"}
    return an_action(
        incident,
        target,
        status="done",
        executing_at=BEGAN,
        finished_at=ENDED,
        target_state=snapshot,
        by_person=True,
    )


def an_alert(incident: Incident, labels: dict[str, str], **fields: Any) -> Any:
    started = {"starts_at": BEGAN - timedelta(minutes=5), **fields}
    url = f"http://prometheus/graph?g0.expr={quote(TOO_MANY)}"
    return an_episode(
        incident, labels={**labels, "job": "shop"}, alert_name="Errors", generator_url=url, **started
    )


def looked(action: Action, state: ExpressionState = ExpressionState.FIRING) -> worse.Worse | None:
    progress = Progress("done", began_at=0, timeout=180, hold=60, newer_than=NOW - 60)
    firing = tuple(action.incident.episodes.values_list("pk", flat=True))
    seen = Look(state, "", firing=firing if state is ExpressionState.FIRING else ())
    return worse.look(action.step.run, progress, seen)


# --- the value ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "before", "now", "is_worse"),
    [
        (20, 20, 80, True),
        (20, 20, 25, False),  # noise
        (20, 20, 15, False),  # better
        (12, 40, 75, False),  # it was on its way there
        (20, 20, 30, False),  # exactly twice as far is not more
        (5, 20, 90, True),
        (None, 20, 80, False),  # nobody knows where it came from
    ],
)
def test_a_value_that_went_much_further_than_it_was_going(
    prometheus: Remembering, action: Action, earlier: float | None, before: float, now: float, is_worse: bool
) -> None:
    points = [(0.0, earlier), (NOW - 100, before), (NOW - 30, now)]
    prometheus.history[ERRORS] = [(at, [(ROW, each)] if each is not None else []) for at, each in points]
    found = looked(action)
    assert (found is not None) is is_worse
    if found is not None:
        assert found.text == f"{ERRORS} was {before:g} and is {now:g}, its threshold is 10"


def test_a_value_that_samples_of_before_have_a_part_in_says_nothing_yet(
    prometheus: Remembering, action: Action
) -> None:
    rate = f"rate({ERRORS}[5m])"
    url = f"http://prometheus/graph?g0.expr={quote(f'{rate} > 10')}"
    action.incident.episodes.update(generator_url=url)
    prometheus.history[rate] = [(0.0, [(ROW, 20.0)]), (NOW - 30, [(ROW, 900.0)])]
    assert looked(action) is None


def test_below_a_threshold_further_is_down(prometheus: Remembering, action: Action) -> None:
    url = f"http://prometheus/graph?g0.expr={quote(f'{ERRORS} < 100')}"
    action.incident.episodes.update(generator_url=url)
    prometheus.history[ERRORS] = [(0.0, [(ROW, 90.0)]), (NOW - 30, [(ROW, 900.0)])]
    assert looked(action) is None
    prometheus.history[ERRORS] = [(0.0, [(ROW, 90.0)]), (NOW - 30, [(ROW, 2.0)])]
    assert looked(action) is not None


def test_without_prometheus_or_an_answer_nothing_is_said(action: Action, settings: Any) -> None:
    assert looked(action) is None
    settings.PROMETHEUS_URL = "http://127.0.0.1:9"
    assert looked(action) is None


# --- one more ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows_before", "samples", "starts", "is_worse"),
    [
        ([], True, NOW - 20, True),
        ([({**ROW, "path": "/pay"}, 20)], True, NOW - 20, False),  # it was true before, and only told later
        ([], False, NOW - 20, False),  # it had no samples before: nobody knows
        ([], True, NOW - 90, False),  # it fired before
    ],
)
def test_another_series_of_the_alert_that_fires_since(
    prometheus: Remembering,
    action: Action,
    rows_before: list[Row],
    samples: bool,
    starts: float,
    is_worse: bool,
) -> None:
    an_alert(action.incident, {**LABELS, "path": "/pay"}, starts_at=datetime.fromtimestamp(starts, UTC))
    prometheus.history[TOO_MANY] = [(0.0, rows_before)]
    if samples:
        prometheus.samples[ERRORS] = [({**ROW, "path": "/pay"}, NOW - 70)]
    found = looked(action)
    assert (found is not None) is is_worse
    if found is not None:
        assert found.text == "one more Errors of docker:nas/shop fires since"


# --- the container -----------------------------------------------------------------------------------


@pytest.fixture
def engine(settings: Any) -> Iterator[Engine]:
    with Engine("nas", ["shop"], calls=[]) as made:
        settings.DOCKER_HOSTS = {"nas": made.url}
        yield made


def test_a_container_that_ran_before_and_crashed_since(engine: Engine, action: Action) -> None:
    assert looked(action) is None
    engine.crash("shop", code=3)
    found = looked(action, ExpressionState.CLEARED)
    assert found is not None
    assert found.text == "docker:nas/shop ran before, and is exited with exit code 3"


@pytest.mark.parametrize(
    "fields",
    [
        {"target_state": {"status_class": "stopped", "restarting": False}},
        {"target_state": {"status_class": "running", "restarting": True}},
        {"kind": "stop_container"},
        {"kind": "create_silence"},
        {"helped": True},
        {"finished_at": None},
    ],
)
def test_what_was_so_before_or_is_meant_is_not_worse(
    engine: Engine, action: Action, fields: dict[str, Any]
) -> None:
    Action.objects.filter(pk=action.pk).update(**fields)
    engine.crash("shop")
    assert looked(action) is None


@pytest.mark.parametrize("ended", ["failed", "unknown"])
def test_a_restart_that_stopped_it_and_did_not_start_it_again(
    engine: Engine, action: Action, ended: str
) -> None:
    Action.objects.filter(pk=action.pk).update(status=ended)
    engine.stop("shop")
    found = looked(action, ExpressionState.CLEARED)
    assert found is not None
    assert "docker:nas/shop ran before, and is exited" in found.text


def test_what_a_person_stopped_since_is_not_our_making(engine: Engine, action: Action) -> None:
    engine.stop("shop")
    assert looked(action) is None


# --- what follows ------------------------------------------------------------------------------------


def test_it_is_escalated_at_once_told_and_counts_as_no_help(
    engine: Engine, action: Action, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.NOTIFY_URLS = ["json://localhost/"]
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: Look(ExpressionState.UNKNOWN, "?"))
    engine.crash("shop")
    run = action.step.run
    progress = Progress("done", began_at=timezone.now().timestamp(), timeout=180, hold=60)
    CrewRun.objects.filter(pk=run.pk).update(finished_at=None)
    Step.objects.filter(run=run).update(state="done", focus=action.target)
    with transaction.atomic():
        step = services.add_step(run, Step.Agent.PROOF, output=progress.as_json())
    watch.look(Step.queue.select_related("run__incident__target").claim(step.pk))
    incident = Incident.objects.get()
    assert (incident.verdict, incident.status) == (Verdict.NOT_FIXED, "closed")
    text = "restart container docker:nas/shop made it worse: docker:nas/shop ran before, and is exited"
    assert incident.proof_note.startswith(text)
    action.refresh_from_db()
    assert action.helped is False
    assert Autonomy.objects.get(kind="restart_container").is_lowered
    communicator.tell(incident, run)
    assert "made it worse" in Notification.objects.latest("pk").title
