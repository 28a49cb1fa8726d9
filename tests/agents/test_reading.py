"""Is the alert's expression true, and may its silence be believed?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agents.reading import ExpressionState, Reading, read_expression, selectors_with_samples
from agents.tools.prometheus_client import Prometheus
from tests.agents.fake_prometheus import NOW, FakePrometheus, serve, serving
from tests.e2e.process import free_port, wait_until
from tests.e2e.require import require
from tests.e2e.servers import Prometheus as Server
from tests.e2e.servers import scrape_job

FIRING, CLEARED, UNKNOWN = ExpressionState.FIRING, ExpressionState.CLEARED, ExpressionState.UNKNOWN
ALERT = {"alertname": "Down", "severity": "critical", "job": "web", "instance": "a:80"}
MINE = {"job": "web", "instance": "a:80"}
OTHER = {"job": "web", "instance": "b:80"}
RULE = {"severity": "critical"}


@dataclass
class Example:
    """An expression, what its Prometheus returns, and what must be read from it."""

    expr: str
    state: ExpressionState
    rows: list[Any] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    alert: dict[str, str] = field(default_factory=lambda: ALERT)
    rule_labels: dict[str, str] = field(default_factory=lambda: RULE)
    newer_than: float | None = None
    must_be_fresh: tuple[str, ...] = ()
    since: float | None = None
    says: str = ""


DOWN = 'up{job="web"} == 0'
UP = 'up{job="web"}'
EXAMPLES = {
    "a row with the alert's labels is the alert": Example(
        DOWN, FIRING, rows=[({"__name__": "up", **MINE}, 0)], samples={UP: [(MINE, NOW)]}
    ),
    "labels that the rule sets are not in the row": Example(
        "sum by (job) (rate(errs[5m])) > 5", FIRING, rows=[({"job": "web"}, 7)]
    ),
    "a row without labels is every alert of its expression": Example("vector(1)", FIRING, rows=[({}, 1)]),
    "a label that the rule overrides is not compared": Example(
        DOWN, FIRING, rows=[({**MINE, "severity": "page"}, 0)]
    ),
    "alertname is the rule's": Example(
        'ALERTS{alertname="X"}', FIRING, rows=[({"alertname": "X", "job": "web"}, 1)]
    ),
    "up again": Example(DOWN, CLEARED, samples={UP: [(MINE, NOW - 1)]}, says=UP),
    "another instance still down": Example(
        DOWN, CLEARED, rows=[(OTHER, 0)], samples={UP: [(MINE, NOW - 1), (OTHER, NOW - 1)]}
    ),
    "the series is gone": Example(DOWN, UNKNOWN, says=f"series gone: {UP} returns no sample of this alert"),
    "only another instance's series is there": Example(
        DOWN, UNKNOWN, samples={UP: [(OTHER, NOW - 1)]}, says="series gone"
    ),
    "a label that the alert lacks is ambiguous": Example(
        DOWN, UNKNOWN, rows=[({**MINE, "replica": "1"}, 0)], says="ambiguous"
    ),
    "but not beside a row that is the alert": Example(
        DOWN, FIRING, rows=[({**MINE, "replica": "1"}, 0), (MINE, 0)]
    ),
    "an extra label in a row of something else is not ambiguous": Example(
        DOWN, CLEARED, rows=[({**OTHER, "replica": "1"}, 0)], samples={UP: [(MINE, NOW)]}
    ),
    "no sample since the action": Example(
        DOWN, UNKNOWN, samples={UP: [(MINE, NOW - 30)]}, newer_than=NOW - 20, says="no sample newer than"
    ),
    "a sample of the action's very moment is not newer": Example(
        DOWN, UNKNOWN, samples={UP: [(MINE, NOW - 20)]}, newer_than=NOW - 20
    ),
    "a sample since the action": Example(
        DOWN, CLEARED, samples={UP: [(MINE, NOW - 10)]}, newer_than=NOW - 20
    ),
    "absent: the series came back": Example(
        'absent(up{job="web"})', CLEARED, samples={UP: [(MINE, NOW)]}, alert={"alertname": "A", "job": "web"}
    ),
    "absent: firing": Example(
        'absent(up{job="web"})', FIRING, rows=[({"job": "web"}, 1)], alert={"alertname": "A", "job": "web"}
    ),
    "absent of another job, which nothing shows": Example(
        'absent(up{job="web"})',
        UNKNOWN,
        samples={UP: [({"job": "web"}, NOW)]},
        alert={"alertname": "A", "job": "other"},
    ),
    "a container that is seen again": Example(
        'time() - container_last_seen{name=~".+"} > 60',
        CLEARED,
        samples={'container_last_seen{name=~".+"}': [({"name": "web", "id": "/docker/1"}, NOW - 3)]},
        alert={"alertname": "Gone", "name": "web", "id": "/docker/1"},
    ),
    "a container that was made anew is another series": Example(
        'time() - container_last_seen{name=~".+"} > 60',
        UNKNOWN,
        samples={'container_last_seen{name=~".+"}': [({"name": "web", "id": "/docker/2"}, NOW - 3)]},
        alert={"alertname": "Gone", "name": "web", "id": "/docker/1"},
    ),
    "a sum of what is still counted": Example(
        "sum by (job) (rate(errs[5m])) > 5",
        CLEARED,
        samples={"errs": [(MINE, NOW), (OTHER, NOW)]},
        alert={"alertname": "E", "job": "web"},
    ),
    "one side of a ratio is no proof": Example(
        "a / on (instance) group_left b > 0.9", UNKNOWN, samples={"b": [(MINE, NOW)]}, says="series gone: a "
    ),
    "least of all when both were there at the alert's start": Example(
        "a / on (instance) group_left b > 0.9",
        UNKNOWN,
        samples={"a": [(MINE, NOW - 600)], "b": [(MINE, NOW - 600), (MINE, NOW)]},
        since=NOW - 500,
        says="series gone: a ",
    ),
    "both sides of a ratio": Example(
        "a / on (instance) group_left b > 0.9",
        CLEARED,
        samples={"a": [(MINE, NOW)], "b": [(MINE, NOW)]},
        since=NOW - 500,
    ),
    "a side that the alert never had may be missing": Example(
        "a unless on (instance) maintenance",
        CLEARED,
        samples={"a": [(MINE, NOW - 600), (MINE, NOW)]},
        since=NOW - 500,
    ),
    "a side that was fresh before must be fresh": Example(
        "a / on (instance) group_left b > 0.9",
        UNKNOWN,
        samples={"a": [(MINE, NOW)]},
        must_be_fresh=("a", "b"),
        says="series gone: b ",
    ),
    "A unless B cleared because A vanished": Example(
        "a unless b", UNKNOWN, samples={"b": [(MINE, NOW)]}, must_be_fresh=("a",), says="series gone: a "
    ),
    "A unless B cleared because B came": Example(
        "a unless b", CLEARED, samples={"a": [(MINE, NOW)], "b": [(MINE, NOW)]}, must_be_fresh=("a",)
    ),
    "no series, no proof": Example("1 == bool 1", UNKNOWN, says="reads no series"),
    "a label of the alert that no series has, such as an external one": Example(
        DOWN, CLEARED, samples={UP: [(MINE, NOW)]}, alert={**ALERT, "cluster": "home"}
    ),
    "an expression that only Prometheus can read": Example(
        "rate(x[5m] smoothed)", UNKNOWN, says="cannot read the expression"
    ),
    "a row of such an expression": Example("rate(x[5m] smoothed)", FIRING, rows=[(MINE, 1)]),
    "not a number is a value too": Example(DOWN, FIRING, rows=[(MINE, "NaN")]),
}


def read(fake: FakePrometheus, example: Example) -> Reading:
    with serving(fake):
        return read_expression(
            Prometheus(fake.url),
            example.expr,
            example.alert,
            rule_labels=example.rule_labels,
            newer_than=example.newer_than,
            must_be_fresh=example.must_be_fresh,
            since=example.since,
        )


@pytest.mark.parametrize("name", EXAMPLES)
def test_reading(name: str) -> None:
    example = EXAMPLES[name]
    fake = FakePrometheus(rows={example.expr: example.rows}, samples=example.samples)
    reading = read(fake, example)
    assert reading.state is example.state, reading
    assert example.says in reading.reason
    assert reading.rows == len(example.rows)
    assert reading.at == NOW
    for _, params in fake.asked:
        asked_at = params.get("time", str(NOW))
        assert asked_at in (f"{NOW:.3f}", f"{example.since or NOW:.3f}") or params["query"] == "time()"


def test_a_scalar_is_true() -> None:
    reading = read(FakePrometheus(scalars={"1 == bool 1": 1}), Example("1 == bool 1", FIRING))
    assert (reading.state, reading.value) == (FIRING, 1)


def test_a_firing_reading_says_which_series_are_fresh() -> None:
    """What was fresh before an action must be fresh after it, so it has to be known while it fires."""
    samples = {"a": [(MINE, NOW - 1)], "b": [(OTHER, NOW - 1)]}
    reading = read(FakePrometheus(rows={"a > b": [(MINE, 5)]}, samples=samples), Example("a > b", FIRING))
    assert (reading.state, reading.fresh, reading.stale) == (FIRING, ("a",), ("b",))
    assert reading.newest == {"a": NOW - 1, "b": None}


def test_a_refused_expression_is_unknown_with_the_reason() -> None:
    fake = FakePrometheus(errors={DOWN: (422, "execution", "many-to-many matching")})
    reading = read(fake, Example(DOWN, UNKNOWN))
    assert reading.state is UNKNOWN
    assert "many-to-many matching" in reading.reason


def test_a_refused_look_at_a_selector_is_unknown() -> None:
    fake = FakePrometheus(errors={f"timestamp({UP})": (503, "timeout", "query timed out")})
    assert read(fake, Example(DOWN, UNKNOWN)).state is UNKNOWN


def test_a_refused_look_at_a_selector_hides_no_firing() -> None:
    errors = {f"timestamp({UP})": (503, "timeout", "query timed out")}
    fake = FakePrometheus(rows={DOWN: [(MINE, 0)]}, errors=errors)
    assert read(fake, Example(DOWN, FIRING)).state is FIRING


def test_an_empty_result_with_a_warning_is_unknown() -> None:
    fake = FakePrometheus(samples={UP: [(MINE, NOW)]}, warnings={DOWN: ["store gateway-2 did not answer"]})
    reading = read(fake, Example(DOWN, UNKNOWN))
    assert reading.state is UNKNOWN
    assert "gateway-2" in reading.reason


def test_no_prometheus_is_unknown() -> None:
    reading = read_expression(Prometheus(f"http://127.0.0.1:{free_port()}"), DOWN, ALERT)
    assert (reading.state, reading.at) == (UNKNOWN, None)
    assert "cannot reach" in reading.reason


def test_the_selectors_that_had_samples_at_a_time() -> None:
    samples = {"a": [(MINE, NOW - 1)], "b": [(MINE, NOW - 100)]}
    with serving(FakePrometheus(samples=samples)) as fake:
        assert selectors_with_samples(Prometheus(fake.url), "a / b", ALERT, at=NOW - 50) == ("b",)


# --- against a real Prometheus -----------------------------------------------------------------


@dataclass
class World:
    """A Prometheus that scrapes two ports, `mine` and `other`, and nothing else."""

    prometheus: Any
    mine: int
    other: int

    @property
    def client(self) -> Prometheus:
        return Prometheus(self.prometheus.url)

    @property
    def labels(self) -> dict[str, str]:
        return {
            "alertname": "Down",
            "severity": "critical",
            "job": "web",
            "instance": f"127.0.0.1:{self.mine}",
        }

    def read(self, expr: str = DOWN, **options: Any) -> Reading:
        return read_expression(self.client, expr, self.labels, rule_labels=RULE, **options)

    def is_forgotten(self) -> bool:
        return not self.client.targets()

    def wait_for(self, state: ExpressionState, expr: str = DOWN, **options: Any) -> Reading:
        return wait_until(
            lambda: found if (found := self.read(expr, **options)).state is state else None,
            20,
            f"{expr} is not {state}",
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    require("prometheus")
    mine, other = free_port(), free_port()
    with Server(tmp_path, jobs=[scrape_job("web", mine, other)], rules=[]) as prometheus:
        yield World(prometheus, mine, other)


@pytest.mark.e2e
def test_down_then_up_is_cleared_by_samples_after_the_action(world: World) -> None:
    before = world.wait_for(FIRING)
    assert before.fresh == (UP,)
    action = world.client.now()
    with web(world.mine):
        after = world.wait_for(CLEARED, newer_than=action, must_be_fresh=before.fresh)
        newest = after.newest[UP]
        assert newest is not None
        assert newest > action
        assert world.read(newer_than=world.client.now() + 60).state is UNKNOWN
    world.wait_for(FIRING)


@pytest.mark.e2e
def test_a_target_that_left_the_configuration_is_not_cleared(world: World) -> None:
    with web(world.other):
        world.wait_for(FIRING)
        world.prometheus.reload(jobs=[scrape_job("web", world.other)])
        gone = world.wait_for(UNKNOWN)
        assert "series gone" in gone.reason
        assert [row["value"][1] for row in world.prometheus.query(UP)] == ["1"]  # the other's series is there


@pytest.mark.e2e
def test_a_job_that_left_altogether_proves_nothing_though_its_series_stays(world: World) -> None:
    """Prometheus writes no staleness marker for a forgotten job: its last samples are served for 5 min."""
    with web(world.mine):
        world.wait_for(CLEARED)
        world.prometheus.reload(jobs=[])
        action = wait_until(lambda: world.client.now() if world.is_forgotten() else None, 20, "still scraped")
        reading = world.read(newer_than=action)
    assert (reading.state, reading.fresh) == (UNKNOWN, ())
    assert "no sample newer than" in reading.reason


@pytest.mark.e2e
def test_absent_clears_when_the_series_comes(world: World) -> None:
    labels = {"alertname": "Absent", "job": "late"}
    expr = 'absent(up{job="late"})'
    assert read_expression(world.client, expr, labels).state is FIRING
    world.prometheus.reload(jobs=[scrape_job("late", world.mine)])
    wait_until(lambda: read_expression(world.client, expr, labels).state is CLEARED, 20, "absent stays")


@contextmanager
def web(port: int) -> Iterator[None]:
    """/metrics on a port."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"ready 1\n")

        def log_message(self, *_: object) -> None:
            pass

    with serve(Metrics, port):
        yield
