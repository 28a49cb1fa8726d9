"""The Prometheus tools, against its JSON shapes and against a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.tools import prometheus as tools
from agents.tools.base import REGISTRY, Case, Result, ToolError
from agents.tools.prometheus_client import OneLook, Prometheus
from tests.agents.fake_prometheus import NOW, FakePrometheus, serving
from tests.e2e.process import free_port, wait_until
from tests.e2e.require import require
from tests.e2e.servers import Prometheus as Server
from tests.e2e.servers import scrape_job

START = NOW - 300
UP, DOWN = 'up{job="web"}', 'up{job="web"} == 0'
MINE = {"job": "web", "instance": "nas:80"}
RULE = {
    "type": "alerting",
    "name": "Down",
    "query": DOWN,
    "duration": 60,
    "labels": {"severity": "critical"},
    "annotations": {"summary": "{{ $labels.instance }} is down"},
    "state": "firing",
    "health": "ok",
    "lastError": "",
}


def rules(*each: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [{"name": "hosts", "interval": 15, "rules": list(each)}]}


def case(**changes: Any) -> Case:
    fields: dict[str, Any] = {
        "incident_id": 1,
        "alert_name": "Down",
        "severity": "critical",
        "labels": {"alertname": "Down", "severity": "critical", **MINE},
        "annotations": {},
        "starts_at": datetime.fromtimestamp(START, UTC),
    }
    return Case(**{**fields, **changes})


def call(name: str, a_case: Case | None = None, **arguments: Any) -> Result:
    result = REGISTRY[name].call(a_case or case(), arguments)
    json.dumps(result.data, allow_nan=False)
    return result


@pytest.fixture
def fake(settings: Any) -> Iterator[FakePrometheus]:
    with serving(FakePrometheus()) as fake:
        settings.PROMETHEUS_URL = fake.url
        yield fake


# --- the alert's own expression ----------------------------------------------------------------


def test_the_expression_of_the_alert_is_true(fake: FakePrometheus) -> None:
    fake.rows[DOWN] = [({"__name__": "up", **MINE}, 0)]
    fake.samples[UP] = [(MINE, NOW - 2)]
    fake.ranges[DOWN] = [(MINE, [(START, "0"), (NOW, "0")])]
    fake.paths["rules"] = rules(RULE)
    result = call("alert_expression", case(expression=DOWN))
    lines = result.text.splitlines()
    assert "firing: true" in lines
    assert "value: 0" in lines
    assert f"expression: {DOWN}" in lines
    assert "time: 2023-11-14T22:13:20.000Z" in lines
    assert f"newest sample 2.0 s old: {UP}" in lines
    assert "was true since the alert's start: yes" in lines
    data = result.data
    assert (data["state"], data["value"], data["was_firing"], data["fresh"]) == ("firing", 0, True, [UP])
    assert (data["rule_health"], data["for_seconds"]) == ("ok", 60)


def test_without_an_expression_the_rule_of_its_name_has_it(fake: FakePrometheus) -> None:
    fake.paths["rules"] = rules({**RULE, "name": "Other"}, RULE)
    fake.samples[UP] = [(MINE, NOW - 2)]
    result = call("alert_expression")
    assert (result.data["state"], result.data["expression"]) == ("cleared", DOWN)
    assert "firing: false" in result.text


def test_of_two_rules_with_one_name_the_one_with_the_alerts_labels(fake: FakePrometheus) -> None:
    warning = {**RULE, "query": 'up{job="web"} < 1', "labels": {"severity": "warning"}}
    fake.paths["rules"] = rules(warning, RULE)
    assert call("alert_expression").data["expression"] == DOWN


def test_two_rules_that_fit_alike_leave_it_unknown(fake: FakePrometheus) -> None:
    fake.paths["rules"] = rules({**RULE, "query": 'up{job="web"} < 1'}, RULE)
    result = call("alert_expression")
    assert (result.data["state"], result.data["expression"]) == ("unknown", None)
    assert "several rules are named Down" in result.text


def test_no_expression_at_all_is_unknown(fake: FakePrometheus) -> None:
    fake.paths["rules"] = rules()
    result = call("alert_expression")
    assert result.data["state"] == "unknown"
    assert "firing: unknown" in result.text
    assert "expression: unknown" in result.text


def test_a_server_without_rules_still_evaluates(fake: FakePrometheus) -> None:
    fake.rows[DOWN] = [(MINE, 0)]
    assert call("alert_expression", case(expression=DOWN)).data["state"] == "firing"


def test_no_prometheus_is_unknown_and_no_error(settings: Any) -> None:
    settings.PROMETHEUS_URL = f"http://ann:secret@127.0.0.1:{free_port()}"
    for each in (case(), case(expression=DOWN)):
        result = call("alert_expression", each)
        assert (result.data["state"], result.data["was_firing"]) == ("unknown", None)
        assert "cannot reach" in result.data["reason"]
        assert "secret" not in result.text


def test_a_series_that_was_there_when_it_fired_must_be_there_now(fake: FakePrometheus) -> None:
    """`a unless b` went quiet because `a` is gone; `b` alone, fresh as it is, proves nothing."""
    expr = "a unless b"
    fake.samples = {"b": [(MINE, NOW - 1)], "a": [(MINE, START)]}
    fake.ranges[expr] = [(MINE, [(START, "1")])]
    fake.paths["rules"] = rules()

    answer = fake.answer

    def forget_a(path: str, params: dict[str, str]) -> tuple[int, dict[str, Any]]:
        gone = params.get("query") == "timestamp(a)" and float(params["time"]) > START + 60
        return answer(path, {**params, "query": "nothing"} if gone else params)

    fake.answer = forget_a  # type: ignore[method-assign]
    result = call("alert_expression", case(expression=expr))
    assert (result.data["state"], result.data["was_firing"]) == ("unknown", True)
    assert "series gone: a " in result.data["reason"]
    assert result.data["last_true"] == START


@pytest.mark.parametrize(
    ("history", "samples", "was_firing"),
    [
        ([(MINE, [(START, "0")])], [(MINE, START)], True),
        ([], [(MINE, START)], False),
        ([], [(MINE, NOW - 1)], None),  # nothing is known of the time of its start
        ([({**MINE, "replica": "1"}, [(START, "0")])], [(MINE, START)], None),
        ([({**MINE, "instance": "pi:80"}, [(START, "0")])], [(MINE, START)], False),
    ],
)
def test_was_it_ever_true(fake: FakePrometheus, history: Any, samples: Any, was_firing: bool | None) -> None:
    fake.ranges[DOWN], fake.samples[UP], fake.paths["rules"] = history, samples, rules(RULE)
    assert call("alert_expression", case(expression=DOWN)).data["was_firing"] is was_firing


def test_a_few_series_in_common_are_no_history(fake: FakePrometheus) -> None:
    """An alert of another Prometheus: `b` is the same here, `a` was never here, so it was never true."""
    expr = "a / on () group_left b > 0.9"
    fake.samples, fake.paths["rules"] = {"b": [({}, START), ({}, NOW - 1)]}, rules()
    assert call("alert_expression", case(expression=expr)).data["was_firing"] is None


def test_the_history_is_asked_for_on_a_grid_that_meets_the_start(fake: FakePrometheus) -> None:
    fake.paths["rules"] = rules(RULE)
    long_ago = NOW - 5 * 24 * 3600
    call("alert_expression", case(expression=DOWN, starts_at=datetime.fromtimestamp(long_ago, UTC)))
    asked = next(params for path, params in fake.asked if path == "query_range")
    begin, step = float(asked["start"]), float(asked["step"])
    assert long_ago - 60 >= begin > long_ago - 60 - step
    assert (long_ago - begin) % step == 0
    assert (float(asked["end"]) - begin) / step < 310


# --- reading around it -------------------------------------------------------------------------


def test_a_query(fake: FakePrometheus) -> None:
    fake.rows["x"] = [({"__name__": "x", "b": 'q"\n', "a": "1"}, "1.5"), ({}, "NaN"), ({"c": "d"}, "+Inf")]
    result = call("prometheus_query", expr="x")
    assert result.text.splitlines()[2:] == [r'x{a="1",b="q\"\n"}: 1.5', "{}: NaN", '{c="d"}: +Inf']
    assert [row["value"] for row in result.data["rows"]] == [1.5, None, None]


def test_many_rows_are_cut_with_a_hint(fake: FakePrometheus) -> None:
    fake.rows["x"] = [({"n": str(number)}, number) for number in range(100)]
    result = call("prometheus_query", expr="x")
    assert result.data["count"] == 100
    assert len(result.data["rows"]) == 30
    assert result.text.splitlines()[-1].startswith("… 70 more; narrow with")


def test_warnings_are_told(fake: FakePrometheus) -> None:
    fake.warnings["x"] = ["store gateway-2 did not answer"]
    assert "warning: store gateway-2 did not answer" in call("prometheus_query", expr="x").text


@pytest.mark.parametrize(
    ("error", "says", "retryable"),
    [
        ((400, "bad_data", "parse error: unexpected end"), "bad_data: parse error", False),
        ((422, "execution", "many-to-many"), "execution: many-to-many", False),
        ((503, "timeout", "query timed out"), "timeout: query timed out", True),
    ],
)
def test_prometheus_own_errors(fake: FakePrometheus, error: Any, says: str, retryable: bool) -> None:
    fake.errors["x"] = error
    with pytest.raises(ToolError, match=says) as caught:
        call("prometheus_query", expr="x")
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"hello": "world"},
        {"status": "success"},
        {"status": "success", "data": {"resultType": "vector"}},
        {"status": "success", "data": {"resultType": "string", "result": [1, "x"]}},
        {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]},
        },
        {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]},
        },
        {"status": "success", "data": {"resultType": "vector", "result": [None]}},
    ],
)
def test_answers_of_another_shape_are_tool_errors(fake: FakePrometheus, body: Any) -> None:
    fake.answer = lambda path, params: (200, body)  # type: ignore[method-assign]
    with pytest.raises(ToolError):
        Prometheus(fake.url).instant("x")


@pytest.mark.parametrize(
    ("tool", "argument"),
    [("prometheus_query", "expr"), ("prometheus_range", "expr"), ("prometheus_rule", "alert_name")],
)
def test_what_was_asked_is_not_in_the_answer_where_it_could_be_quoted(
    fake: FakePrometheus, tool: str, argument: str
) -> None:
    fake.paths["rules"] = {"groups": []}
    asked: dict[str, Any] = {argument: "the_disk_is_full"}
    assert "the_disk_is_full" not in call(tool, **asked).text


def test_a_range_is_summed_up_per_series(fake: FakePrometheus) -> None:
    step = 60
    times = [NOW - 3600 + number * step for number in range(61)]
    fake.ranges["x"] = [
        ({"s": "up"}, [(at, str(number)) for number, at in enumerate(times)]),
        ({"s": "down"}, [(at, str(100 - number)) for number, at in enumerate(times)]),
        ({"s": "flat"}, [(at, "5") for at in times]),
        ({"s": "ended"}, [(at, "5") for at in times[:30]]),
        ({"s": "nan"}, [(at, "NaN") for at in times]),
        ({"s": "short"}, [(times[-1], "1")]),
    ]
    result = call("prometheus_range", expr="x")
    lines = {line.partition(":")[0]: line for line in result.text.splitlines()[2:]}
    assert lines['{s="up"}'] == '{s="up"}: min=0 max=60 first=0 last=60 trend=rising points=61'
    assert "trend=falling" in lines['{s="down"}']
    assert "trend=steady" in lines['{s="flat"}']
    assert lines['{s="ended"}'].endswith("ended=2023-11-14T21:42:20.000Z")
    assert "min=none" in lines['{s="nan"}']
    assert "not_finite=61" in lines['{s="nan"}']
    assert "trend=unknown" in lines['{s="short"}']
    assert [each["ended"] for each in result.data["series"]] == [False, False, False, True, False, False]


@pytest.mark.parametrize("minutes", [1, 60, 10080])
def test_a_range_has_at_most_some_sixty_points(fake: FakePrometheus, minutes: int) -> None:
    call("prometheus_range", expr="x", minutes=minutes)
    _, asked = fake.asked[-1]
    assert (float(asked["end"]) - float(asked["start"])) / float(asked["step"]) <= 60


def test_a_rule_is_shown(fake: FakePrometheus) -> None:
    fake.paths["rules"] = rules(
        RULE, {**RULE, "type": "recording"}, {**RULE, "name": "Other", "lastError": "bad"}
    )
    result = call("prometheus_rule")
    assert result.data["count"] == 1
    for line in (
        f"expression: {DOWN}",
        "for: 60 s",
        "interval: 15 s",
        "state: firing",
        "label severity: critical",
    ):
        assert line in result.text.splitlines()
    assert "last error: bad" in call("prometheus_rule", alert_name="Other").text
    assert call("prometheus_rule", alert_name="Nobody").data == {"count": 0, "rules": []}


def target(instance: str, health: str, error: str = "") -> dict[str, Any]:
    return {
        "labels": {"job": "web", "instance": instance},
        "scrapePool": "web",
        "scrapeUrl": f"http://ann:secret@{instance}/metrics",
        "lastError": error,
        "lastScrape": "2026-01-02T03:04:05Z" if health != "unknown" else "0001-01-01T00:00:00Z",
        "health": health,
    }


def test_targets_are_listed_the_unhealthy_first(fake: FakePrometheus) -> None:
    failed = 'Get "http://ann:secret@nas:80/metrics": connection refused'
    fake.paths["targets"] = {
        "activeTargets": [
            target("pi:80", "up"),
            target("nas:80", "down", failed),
            target("new:80", "unknown"),
        ]
    }
    result = call("prometheus_targets")
    assert [each["health"] for each in result.data["targets"]] == ["down", "unknown", "up"]
    assert (result.data["up"], result.data["down"], result.data["unknown"]) == (1, 1, 1)
    assert 'error=Get "http://nas:80/metrics": connection refused' in result.text
    assert result.data["targets"][1]["last_scrape"] is None
    assert "secret" not in result.text + json.dumps(result.data)
    assert call("prometheus_targets", match="NAS").data["count"] == 1


def active(name: str, state: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "state": state,
        "activeAt": "2026-01-02T03:04:05Z",
        "value": "1e+00",
    }


def test_what_else_is_active_on_the_target(fake: FakePrometheus) -> None:
    fake.paths["alerts"] = {
        "alerts": [
            active("Down", severity="critical", **MINE),
            active("DiskFull", instance="nas:9100"),
            active("Slow", "pending", host="nas"),
            active("Elsewhere", instance="pi:9100", job="web"),
            active("NoPlace"),
        ]
    }
    result = call("firing_on_target")
    assert [each["alert_name"] for each in result.data["alerts"]] == ["DiskFull", "Slow"]
    assert (result.data["count"], result.data["firing"]) == (2, 1)
    assert "DiskFull: firing since 2026-01-02T03:04:05Z, shares host=nas" in result.text


def test_the_same_container_name_is_shared() -> None:
    assert tools.shared_places({"container": "web"}, {"container": "web", "host": "x"}) == ["container=web"]
    assert tools.shared_places({"container": "web", "host": "a"}, {"container": "db", "host": "b"}) == []


def test_without_a_url_there_is_no_tool(settings: Any) -> None:
    settings.PROMETHEUS_URL = None
    assert tools.PROMETHEUS.configured() is False
    assert tools.PROMETHEUS.check().ok is None
    with pytest.raises(ToolError, match="PROMETHEUS_URL is not set"):
        call("prometheus_query", expr="up")


def test_wrong_arguments_are_tool_errors(fake: FakePrometheus) -> None:
    for arguments in ({}, {"expr": ""}, {"expr": "up", "minutes": 0}, {"expr": "up", "minutes": 10**9}):
        with pytest.raises(ToolError, match="wrong arguments"):
            call("prometheus_range", **arguments)


# --- against a real Prometheus -----------------------------------------------------------------


@pytest.mark.e2e
def test_every_tool_against_a_real_prometheus(tmp_path: Path, settings: Any) -> None:
    require("prometheus")
    port = free_port()
    rule = {"alert": "Down", "expr": 'up{job="web"} == 0', "for": "1s", "labels": {"severity": "critical"}}
    labels = {"alertname": "Down", "severity": "critical", "job": "web", "instance": f"127.0.0.1:{port}"}
    with Server(tmp_path, jobs=[scrape_job("web", port)], rules=[rule]) as server:
        settings.PROMETHEUS_URL = server.url
        assert tools.PROMETHEUS.check().version
        wait_until(lambda: any(each["state"] == "firing" for each in server.alerts()), 30, "not firing")
        now = datetime.now(UTC)
        mine = case(labels=labels, starts_at=now)
        data = call("alert_expression", mine).data
        assert (data["state"], data["was_firing"], data["fresh"]) == ("firing", True, [UP])
        assert data["expression"] == DOWN
        assert (data["rule_state"], data["for_seconds"]) == ("firing", 1)
        early = case(labels=labels, starts_at=datetime.fromtimestamp(now.timestamp() - 7200, UTC))
        assert call("alert_expression", early).data["was_firing"] is True
        assert call("prometheus_query", expr=UP).data["rows"][0]["value"] == 0
        assert call("prometheus_query", expr="1 / 0").text.endswith("{}: +Inf")
        assert call("prometheus_range", expr=UP, minutes=1).data["series"][0]["last"] == 0
        assert call("prometheus_rule").data["rules"][0]["labels"] == {"severity": "critical"}
        assert call("prometheus_targets").data["down"] == 1
        assert call("firing_on_target", case(labels={"host": "127.0.0.1"})).data["firing"] == 1
        with pytest.raises(ToolError, match="parse error"):
            call("prometheus_query", expr="up{")
        with pytest.raises(ToolError, match="string"):
            call("prometheus_query", expr='"text"')


def test_what_is_left_of_a_look_is_a_time_that_prometheus_reads() -> None:
    """`2.5s` is none to it."""
    with serving(FakePrometheus()) as fake:
        look = OneLook(fake.url, seconds=2.5)
        look.instant("up")
        look.instant("down")
        look.range("up", start=0, end=1, step=1)
    left = [float(params["timeout"]) for _, params in fake.asked]
    assert 0 < left[2] <= left[1] <= 2.5
