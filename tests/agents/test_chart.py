"""The points of an alert's expression: read while somebody looks, kept when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from agents import chart
from agents.models import Action, Chart, Step
from agents.plot import svg
from agents.tools.base import ToolError
from incidents import services
from incidents.models import Incident, Verdict
from incidents.queue import State
from tests.agents.fake_prometheus import FakePrometheus, serving
from tests.agents.rows import an_action
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
LABELS = {"alertname": "ServiceDown", "instance": "nas:9100", "job": "web"}
ROW = {"__name__": "up", "instance": "nas:9100", "job": "web"}
UP = 'up{job="web"}'
LINK = "http://prom/graph?g0.expr=up%7Bjob%3D%22web%22%7D+%3D%3D+0"


@pytest.fixture
def prometheus(settings: Any) -> Iterator[FakePrometheus]:
    with serving(FakePrometheus(paths={"rules": {"groups": []}})) as fake:
        settings.PROMETHEUS_URL = fake.url
        yield fake


def an_open_one(**fields: Any) -> Incident:
    """Since ten minutes, by an alert that says `up == 0`."""
    incident = an_incident(started_at=timezone.now() - timedelta(minutes=10), **fields)
    an_episode(incident, labels=LABELS, generator_url=LINK, starts_at=incident.started_at)
    return incident


def put(
    prometheus: FakePrometheus, *rows: tuple[dict[str, str], dict[float, str]], expression: str = UP
) -> None:
    """Points at seconds after a plot's start, which Prometheus is asked for."""

    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            if key != expression:
                return default
            start = float(prometheus.asked[-1][1]["start"])
            return [
                (labels, [(start + at, value) for at, value in points.items()]) for labels, points in rows
            ]

    prometheus.ranges = Asked()


def test_of_a_comparison_what_is_compared_is_plotted(prometheus: FakePrometheus) -> None:
    put(prometheus, (ROW, {0: "1", 5: "1", 15: "0"}))
    signal = chart.read(an_open_one())
    assert (signal.expression, signal.measured, signal.threshold, signal.side) == (f"{UP} == 0", UP, 0.0, 0)
    [(name, values)] = signal.series
    assert name == 'up{instance="nas:9100",job="web"}'
    assert values[:4] == (1.0, 1.0, None, 0.0)
    assert set(values[4:]) == {None}


def test_it_begins_before_the_alert_and_ends_now(prometheus: FakePrometheus) -> None:
    put(prometheus, (ROW, {0: "1"}))
    incident = an_open_one()
    signal = chart.read(incident)
    assert signal.start == pytest.approx(incident.started_at.timestamp() - 300, abs=1)
    assert signal.end == pytest.approx(timezone.now().timestamp(), abs=10)


@pytest.mark.parametrize("days", [0, 1, 30, 4000])
def test_however_long_it_lasts_the_points_are_few(prometheus: FakePrometheus, days: int) -> None:
    put(prometheus, (ROW, {0: "1"}))
    incident = an_open_one()
    Incident.objects.filter(pk=incident.pk).update(started_at=timezone.now() - timedelta(days=days))
    incident.refresh_from_db()
    [(_, values)] = chart.read(incident).series
    assert len(values) <= chart.MOST_POINTS + 1


def test_rows_of_other_alerts_are_not_this_incidents(prometheus: FakePrometheus) -> None:
    put(prometheus, (ROW, {0: "1"}), ({**ROW, "instance": "other:9100"}, {0: "0"}))
    signal = chart.read(an_open_one())
    assert len(signal.series) == 1
    put(prometheus, ({**ROW, "instance": "other:9100"}, {0: "0"}))
    with pytest.raises(ToolError, match="no samples of this alert"):
        chart.read(an_open_one())


def test_several_alerts_of_one_rule_are_several_lines(prometheus: FakePrometheus) -> None:
    incident = an_open_one()
    rows = [({**ROW, "instance": f"host{number}"}, {0.0: "1"}) for number in range(6)]
    for labels, _ in rows:
        an_episode(incident, labels={**LABELS, "instance": labels["instance"]}, generator_url=LINK)
    put(prometheus, *rows)
    signal = chart.read(incident)
    assert [name for name, _ in signal.series] == [f"instance=host{number}" for number in range(4)]
    assert signal.more == 2


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e305"])
def test_what_has_no_place_on_a_scale_is_a_gap(prometheus: FakePrometheus, value: str) -> None:
    put(prometheus, (ROW, {0: "1", 5: value, 10: "1"}))
    [(_, values)] = chart.read(an_open_one()).series
    assert values[:3] == (1.0, None, 1.0)


@pytest.mark.parametrize("compared", ["< 1e400", "> -1e400", "!= 1.7e308", "> NaN", "< Inf"])
def test_a_threshold_that_has_no_place_on_a_scale_is_left_out(
    prometheus: FakePrometheus, compared: str
) -> None:
    incident = an_incident(started_at=timezone.now())
    link = f"http://prom/graph?{urlencode({'g0.expr': f'{UP} {compared}'})}"
    an_episode(incident, labels=LABELS, generator_url=link)
    put(prometheus, (ROW, {0: "1"}))
    signal = chart.read(incident)
    assert (signal.measured, signal.threshold, signal.side) == (UP, None, 0)
    assert svg(chart.plot(incident, signal), width=600, zone=UTC)
    json.dumps(signal.as_json(), allow_nan=False)  # PostgreSQL keeps no other


def test_an_expression_that_is_no_comparison_is_plotted_itself(prometheus: FakePrometheus) -> None:
    incident = an_incident(started_at=timezone.now())
    an_episode(incident, labels=LABELS, generator_url="http://prom/graph?g0.expr=absent(up)")
    put(prometheus, ({}, {0: "1"}), expression="absent(up)")
    signal = chart.read(incident)
    assert (signal.measured, signal.threshold) == ("absent(up)", None)


def test_an_alert_that_names_no_expression_is_plotted_by_its_rule(prometheus: FakePrometheus) -> None:
    rule = {"type": "alerting", "name": "ServiceDown", "query": f"{UP} == 0"}
    prometheus.paths["rules"] = {"groups": [{"name": "g", "rules": [rule]}]}
    incident = an_incident(started_at=timezone.now())
    an_episode(incident, labels=LABELS)
    put(prometheus, (ROW, {0: "1"}))
    assert chart.read(incident).measured == UP


def test_it_is_said_why_there_is_no_plot(prometheus: FakePrometheus, settings: Any) -> None:
    incident = an_incident()
    with pytest.raises(ToolError, match="no alert"):
        chart.read(incident)
    an_episode(incident, labels=LABELS)
    with pytest.raises(ToolError, match="no rule is named ServiceDown"):
        chart.read(incident)
    settings.PROMETHEUS_URL = None
    with pytest.raises(ToolError, match="PROMETHEUS_URL is not set"):
        chart.read(incident)


def test_it_waits_no_longer_than_a_person_does(settings: Any) -> None:
    settings.PROMETHEUS_URL = "http://127.0.0.1:1"
    with pytest.raises(ToolError):
        chart.read(an_open_one())


# --- what happened, on it ------------------------------------------------------------------------


def test_the_start_the_action_and_the_proof_are_marked(prometheus: FakePrometheus) -> None:
    now = timezone.now()
    action = an_action(status=Action.Status.DONE, executing_at=now, finished_at=now + timedelta(seconds=3))
    incident = action.incident
    cleared = (now + timedelta(seconds=20)).timestamp()
    Step.objects.create(run=action.step.run, agent="proof", output={"cleared_since": cleared})
    Incident.objects.filter(pk=incident.pk).update(
        started_at=now - timedelta(minutes=1),
        status="closed",
        verdict=Verdict.VERIFIED,
        closed_at=now + timedelta(minutes=2),
    )
    incident.refresh_from_db()
    put(prometheus, ({"instance": "nas:9100"}, {0: "1"}))
    incident.episodes.update(generator_url=LINK)
    drawn = chart.plot(incident, chart.read(incident))
    assert [(mark.kind, mark.text) for mark in drawn.marks] == [
        ("began", "the alert began"),
        ("change", "restart container docker:docker2/jellyfin: Done"),
        ("cleared", "clear again"),
        ("cleared", "Fixed, proven"),
    ]
    assert drawn.marks[1].until == pytest.approx((now + timedelta(seconds=3)).timestamp())


def test_an_end_without_proof_is_marked_as_such(prometheus: FakePrometheus) -> None:
    incident = an_open_one(verdict=Verdict.UNKNOWN, closed_at=timezone.now())
    put(prometheus, (ROW, {0: "1"}))
    drawn = chart.plot(incident, chart.read(incident))
    assert [(mark.kind, mark.text) for mark in drawn.marks][1:] == [("ended", "Ended, not proven")]


# --- kept ----------------------------------------------------------------------------------------


def closed(prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any) -> Incident:
    incident = an_open_one(status="proving")
    put(prometheus, (ROW, {0: "1"}))
    with django_capture_on_commit_callbacks():
        services.close(incident, Verdict.VERIFIED, actor="proof", note="clear")
    return incident


def make_due(incident: Incident, **ago: float) -> int:
    """As if it had ended that long ago."""
    Incident.objects.filter(pk=incident.pk).update(closed_at=timezone.now() - timedelta(**ago))
    Chart.objects.update(due_at=timezone.now())
    return Chart.objects.get().pk


def test_a_closed_incidents_points_are_kept_some_time_after_its_end(
    prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    incident = closed(prometheus, django_capture_on_commit_callbacks)
    row = Chart.objects.get()
    assert row.due_at > timezone.now() + timedelta(minutes=5)
    assert chart.kept(incident) is None
    chart.keep(make_due(incident, minutes=6))
    settings.PROMETHEUS_URL = None  # as long as Prometheus may have forgotten it
    kept = chart.kept(Incident.objects.get())
    assert kept is not None
    assert kept.series[0][1][0] == 1.0
    assert kept.end - kept.start == pytest.approx(300 + 600 + 300 - 6 * 60 + 300, abs=400)


def test_until_the_time_after_the_end_is_over_it_waits(
    prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any
) -> None:
    incident = closed(prometheus, django_capture_on_commit_callbacks)
    chart.keep(make_due(incident, minutes=1))
    row = Chart.objects.get()
    assert (row.state, row.points) == (State.WAITING, None)
    assert row.due_at > timezone.now() + timedelta(minutes=3)


def test_a_prometheus_that_is_away_is_asked_again_and_in_the_end_no_more(
    prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    incident = closed(prometheus, django_capture_on_commit_callbacks)
    settings.PROMETHEUS_URL = "http://127.0.0.1:1"
    chart.keep(make_due(incident, minutes=10))
    row = Chart.objects.get()
    assert (row.state, bool(row.error)) == (State.WAITING, True)
    chart.keep(make_due(incident, days=2))
    row.refresh_from_db()
    assert (row.state, row.points, bool(row.error)) == (State.DONE, None, True)


def test_what_prometheus_does_not_know_is_not_asked_again(
    prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any
) -> None:
    incident = closed(prometheus, django_capture_on_commit_callbacks)
    prometheus.ranges = {}
    chart.keep(make_due(incident, minutes=10))
    row = Chart.objects.get()
    assert row.state == State.DONE
    assert "no samples" in row.error


def test_an_incident_that_came_back_is_kept_at_its_next_end(
    prometheus: FakePrometheus, django_capture_on_commit_callbacks: Any
) -> None:
    incident = closed(prometheus, django_capture_on_commit_callbacks)
    chart.keep(make_due(incident, minutes=10))
    incident.refresh_from_db()
    with django_capture_on_commit_callbacks():
        services.reopen(incident, actor="test", text="again")
    assert chart.kept(incident) is None
    with django_capture_on_commit_callbacks():
        services.close(incident, Verdict.RESOLVED_BY_HUMAN, actor="kim", note="by hand")
    assert Chart.objects.get().state == State.WAITING


def test_without_prometheus_nothing_is_put_on_its_way(django_capture_on_commit_callbacks: Any) -> None:
    incident = an_open_one(status="proving")
    with django_capture_on_commit_callbacks():
        services.close(incident, Verdict.UNKNOWN, actor="proof", note="nobody knows")
    assert not Chart.objects.exists()
