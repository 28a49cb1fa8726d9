"""The Docker tools against a real engine."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest
from docker.models.containers import Container

from agents.tools import docker
from agents.tools.base import REGISTRY, Case, Result, ToolError
from agents.tools.docker_client import printable
from tests.agents.fake_prometheus import serve
from tests.e2e.process import free_port, wait_until
from tests.e2e.require import require
from tests.e2e.servers import Docker

SECRET = "hunter2-in-the-environment"
CASE = Case(
    incident_id=1,
    alert_name="ContainerDown",
    severity="critical",
    labels={},
    annotations={},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)
Run = Callable[..., Container]


def call(tool: str, **arguments: Any) -> Result:
    result = REGISTRY[tool].call(CASE, arguments)
    json.dumps(result.data, allow_nan=False)
    assert SECRET not in result.text + json.dumps(result.data)
    return result


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    require("docker")
    with Docker(tmp_path_factory.mktemp("docker")) as server:
        yield server


@pytest.fixture
def engine(server: Docker, settings: Any) -> Docker:
    settings.DOCKER_HOSTS = {"nas": server.url}
    return server


@pytest.fixture
def run(engine: Docker) -> Iterator[Run]:
    """Run a shell script as a container; removed afterwards."""
    made: list[Container] = []

    def run(name: str, script: str = "sleep 1000", **options: Any) -> Container:
        options = {"network_mode": "host", "environment": {"PASSWORD": SECRET, "EMPTY": ""}, **options}
        command = ["sh", "-c", script]
        container = engine.client.containers.run(engine.image(), command, name=name, detach=True, **options)
        made.append(container)
        return container

    yield run
    for container in made:
        container.remove(force=True, v=True)


def ended(container: Container) -> bool:
    container.reload()
    return bool(container.status == "exited")


def wait_for_end(container: Container) -> None:
    wait_until(lambda: ended(container), 20, f"{container.name} still runs")


# --- what there is -----------------------------------------------------------------------------


@pytest.mark.e2e
def test_every_container_is_listed_the_ailing_first(run: Run) -> None:
    run("calm", labels={"homelab.remediation": "off"})
    broken = run("broken", "exit 3")
    wait_for_end(broken)
    result = call("docker_list")
    assert [each["key"] for each in result.data["containers"]] == ["docker:nas/broken", "docker:nas/calm"]
    assert "docker:nas/calm status=running health=none restart=no image=e2e-web:latest" in result.text
    calm = next(each for each in docker.list_containers().containers if each.name == "calm")
    assert calm.labels["homelab.remediation"] == "off"
    assert calm.as_facts()["image_id"].startswith("sha256:")
    assert call("docker_list", match="CAL").data["count"] == 1


@pytest.mark.e2e
def test_a_host_that_is_down_hides_no_other(run: Run, engine: Docker, settings: Any) -> None:
    run("calm")
    settings.DOCKER_HOSTS = {"gone": "tcp://127.0.0.1:1", "nas": engine.url}
    listing = docker.list_containers()
    assert [each.key for each in listing.containers] == ["docker:nas/calm"]
    assert list(listing.errors) == ["gone"]
    assert "cannot be reached" in listing.errors["gone"]
    health = docker.DOCKER.check()
    assert (health.ok, "gone: " in health.detail) == (False, True)


@pytest.mark.e2e
def test_a_healthy_check_names_the_version(engine: Docker) -> None:
    assert docker.DOCKER.check().version == engine.client.version()["Version"]


@pytest.mark.e2e
def test_published_ports_are_told_while_it_is_stopped_too(run: Run, engine: Docker) -> None:
    port = free_port()
    ports = {"80/tcp": ("127.0.0.1", port)}
    made = engine.client.containers.create(engine.image(), "true", name="published", ports=ports)
    try:
        facts = docker.inspect_container("nas", "published")
    finally:
        made.remove()
    assert facts.published_ports == (port,)
    assert facts.ports == (f"127.0.0.1:{port}->80/tcp",)
    assert (facts.status, facts.exit_code, facts.started_at, facts.finished_at) == (
        "created",
        None,
        None,
        None,
    )


# --- which container a name means --------------------------------------------------------------


@pytest.mark.e2e
def test_a_name_on_two_hosts_is_refused_with_its_candidates(run: Run, engine: Docker, settings: Any) -> None:
    run("web")
    settings.DOCKER_HOSTS = {"nas": engine.url, "pi": engine.url}
    with pytest.raises(ToolError, match="docker:nas/web, docker:pi/web"):
        docker.resolve("web")
    assert docker.resolve("docker:pi/web") == ("pi", "web")


@pytest.mark.e2e
def test_names_of_one_container(run: Run) -> None:
    container = run("web")
    assert (
        docker.resolve("web") == docker.resolve("/web") == docker.resolve("docker:nas/web") == ("nas", "web")
    )
    assert docker.inspect_container("nas", str(container.id)).name == "web"
    assert docker.inspect_container("nas", str(container.id)[:12]).name == "web"


@pytest.mark.e2e
def test_a_part_of_a_name_or_id_is_no_name(run: Run) -> None:
    container = run("web")
    for name in ("we", "web2", "w.b", str(container.id)[:3]):
        with pytest.raises(ToolError):
            docker.resolve(name)
        with pytest.raises(ToolError):
            docker.inspect_container("nas", name)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name", ["../../info", "web/json?x=", "", "docker:nas/", "a b", "docker:pi/web", ".."]
)
def test_text_that_is_no_name_reaches_no_engine(engine: Docker, name: str) -> None:
    with pytest.raises(ToolError):
        docker.resolve(name)


@pytest.mark.e2e
def test_a_host_that_cannot_be_asked_leaves_a_bare_name_open(run: Run, engine: Docker, settings: Any) -> None:
    run("web")
    settings.DOCKER_HOSTS = {"gone": "tcp://127.0.0.1:1", "nas": engine.url}
    with pytest.raises(ToolError, match="docker:nas/web exists, but not every host could be asked") as caught:
        docker.resolve("web")
    assert caught.value.retryable
    assert docker.resolve("docker:nas/web") == ("nas", "web")


# --- its state ---------------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_running_container(run: Run) -> None:
    run("web", labels={"a": "b"}, restart_policy={"Name": "unless-stopped"}, mem_limit="64m")
    result = call("docker_inspect", container="web")
    data = result.data
    assert (data["status"], data["running"], data["exit_code"], data["stopped_by"]) == (
        "running",
        True,
        None,
        None,
    )
    assert (data["restart_policy"], data["memory_limit"]) == ("unless-stopped", 64 * 1024 * 1024)
    assert data["environment"] == ["PASSWORD", "EMPTY"]
    assert "status: running" in result.text.splitlines()
    assert "exit_code: none" in result.text.splitlines()


@pytest.mark.e2e
def test_a_container_killed_from_outside_crashed(run: Run, engine: Docker) -> None:
    container = run("web")
    engine.kill_process("web")
    wait_for_end(container)
    result = call("docker_inspect", container="web")
    assert (result.data["stopped_by"], result.data["exit_code"]) == ("crash", 137)
    assert "exit_code: 137 (SIGKILL: killed from outside, or out of memory)" in result.text
    assert result.data["finished_at"] > result.data["started_at"]


@pytest.mark.e2e
def test_a_container_that_was_stopped_was_stopped_by_a_person(run: Run) -> None:
    container = run("web", "trap 'exit 0' TERM; sleep 1000 & wait")
    container.stop(timeout=5)
    assert docker.stopped_by("nas", "web") == "person"  # asked at once, when only `die` may be recorded yet


@pytest.mark.e2e
def test_a_container_that_took_long_to_stop_was_stopped_by_a_person(run: Run) -> None:
    container = run("web", "trap '' TERM; while true; do sleep 1; done")
    container.stop(timeout=1)
    assert docker.stopped_by("nas", "web") == "person"
    assert docker.inspect_container("nas", "web").exit_code == 137


@pytest.mark.e2e
def test_a_crash_after_a_persons_restart_is_a_crash(run: Run, engine: Docker) -> None:
    container = run("web")
    container.stop(timeout=0)
    container.start()
    engine.kill_process("web")
    wait_for_end(container)
    assert docker.stopped_by("nas", "web") == "crash"


@pytest.mark.e2e
def test_docker_kill_leaves_no_stop_event(run: Run) -> None:
    container = run("web")
    container.kill()
    wait_for_end(container)
    assert docker.stopped_by("nas", "web") == "crash"


@pytest.mark.e2e
def test_who_stopped_it_is_unknown_once_the_engine_forgot(run: Run) -> None:
    container, other = run("web"), run("noise")
    container.stop(timeout=0)
    for number in range(256):  # an event each, as many as the engine keeps
        other.rename(f"noise-{number}")
    assert docker.stopped_by("nas", "web") == "unknown"


@pytest.mark.e2e
@pytest.mark.parametrize(("hidden", "stopper"), [(("/info",), "person"), (("/info", "/events"), "unknown")])
def test_behind_a_proxy_that_hides_part_of_the_engine(
    run: Run, engine: Docker, settings: Any, hidden: tuple[str, ...], stopper: str
) -> None:
    container = run("web")
    container.stop(timeout=0)
    upstream = engine.client.api

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path.endswith(hidden):
                self.send_error(403)
                return
            answer = upstream.get(upstream.base_url + self.path)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with serve(Proxy) as url:
        settings.DOCKER_HOSTS = {"nas": url.replace("http://", "tcp://")}
        assert call("docker_inspect", container="web").data["stopped_by"] == stopper


@pytest.mark.e2e
def test_a_container_that_never_ran(engine: Docker) -> None:
    made = engine.client.containers.create(engine.image(), ["true"], name="new", network_mode="host")
    try:
        assert docker.stopped_by("nas", "new") == "unknown"
    finally:
        made.remove()


@pytest.mark.e2e
def test_out_of_memory_is_told_from_a_kill(run: Run) -> None:
    container = run("hungry", "x=a; while true; do x=$x$x; done", mem_limit="16m", memswap_limit="16m")
    wait_for_end(container)
    result = call("docker_inspect", container="hungry")
    assert (result.data["oom_killed"], result.data["stopped_by"]) == (True, "crash")
    assert "exit_code: 137 (SIGKILL: out of memory)" in result.text
    assert "oom" in [each["action"] for each in call("docker_events", container="hungry").data["events"]]


@pytest.mark.e2e
def test_health_is_that_of_the_last_probe_and_none_once_it_is_stopped(run: Run) -> None:
    probe = {"test": ["CMD-SHELL", "echo it is broken; exit 1"], "interval": 10**8, "retries": 1}
    container = run("sick", healthcheck=probe)
    wait_until(lambda: docker.inspect_container("nas", "sick").health == "unhealthy", 20, "not unhealthy")
    state = docker.inspect_container("nas", "sick")
    assert state.health_log is not None
    assert state.health_log.endswith("exit code 1: it is broken\\n")
    container.stop(timeout=0)
    assert docker.inspect_container("nas", "sick").health is None


@pytest.mark.e2e
def test_a_crash_loop_counts_its_restarts(run: Run) -> None:
    run("loop", "exit 127", restart_policy={"Name": "always"})
    wait_until(lambda: docker.inspect_container("nas", "loop").restart_count >= 2, 20, "no restarts")
    ended = {"exit_code": 127, "exit_meaning": "its command was not found"}  # between two of its short lives
    wait_until(lambda: ended.items() <= call("docker_inspect", container="loop").data.items(), 20, "not told")


# --- logs, use, events, evidence ---------------------------------------------------------------


@pytest.mark.e2e
def test_logs_of_both_streams_with_times_as_text(run: Run) -> None:
    script = (
        r"printf 'one\n\033[31mred\033[0m\n\000nul \377 byte\r\n'; echo two >&2; echo Ünïcode; sleep 1000"
    )
    run("talk", script)
    wait_until(lambda: "Ünïcode" in call("docker_logs", container="talk").text, 10, "no logs")
    result = call("docker_logs", container="talk")
    messages = {line.partition(" ")[2] for line in result.text.splitlines()[2:]}
    # The byte that is no text was replaced by the engine's own log driver.
    assert messages == {"one", "red", "\\x00nul \ufffd byte", "two", "Ünïcode"}
    times = [line.partition(" ")[0] for line in result.text.splitlines()[2:]]
    assert all(datetime.fromisoformat(each).year >= 2024 for each in times)


@pytest.mark.e2e
def test_logs_of_a_terminal(run: Run) -> None:
    run("tty", "echo one; echo two; sleep 1000", tty=True)
    wait_until(lambda: "two" in call("docker_logs", container="tty").text, 10, "no logs")
    assert call("docker_logs", container="tty").data["count"] == 2


@pytest.mark.e2e
def test_logs_are_narrowed(run: Run) -> None:
    run("long", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; echo Error: last; sleep 1000")
    wait_until(lambda: "last" in call("docker_logs", container="long").text, 10, "no logs")
    assert call("docker_logs", container="long").data["count"] == 100
    assert call("docker_logs", container="long", lines=3).text.splitlines()[-1].endswith("Error: last")
    found = call("docker_logs", container="long", match="LINE 1", lines=5)
    assert (found.data["count"], found.data["matching"], found.data["searched"]) == (5, 111, 301)
    assert "LINE 1" not in found.text  # what was asked for could be quoted as if it had been found
    with pytest.raises(ToolError, match="less than or equal to 500"):
        call("docker_logs", container="long", lines=501)


@pytest.mark.e2e
def test_logs_that_the_driver_does_not_keep(run: Run) -> None:
    run("mute", log_config={"type": "none", "config": {}})
    with pytest.raises(ToolError, match="driver does not support reading"):
        call("docker_logs", container="mute")
    kept = docker.evidence("nas", "mute")
    assert kept["logs"] is None
    assert "driver" in kept["logs_error"]


@pytest.mark.e2e
def test_use_of_resources(run: Run) -> None:
    run("busy", "while true; do :; done", mem_limit="64m")
    data = call("docker_stats", container="busy").data
    assert data["running"] is True
    assert 10 < data["cpu_percent"] < 150  # one loop on one processor
    assert 0 < data["memory_bytes"] < data["memory_limit"] == 64 * 1024 * 1024
    assert data["processes"] == 1


@pytest.mark.e2e
def test_a_stopped_container_uses_what_nobody_knows(run: Run) -> None:
    wait_for_end(run("done", "exit 0"))
    data = call("docker_stats", container="done").data
    assert (data["running"], data["cpu_percent"], data["memory_bytes"]) == (False, None, None)


@pytest.mark.e2e
def test_events_leave_out_the_commands_of_health_checks(run: Run) -> None:
    probe = {"test": ["CMD-SHELL", f"test -n {SECRET}"], "interval": 10**8, "retries": 1}
    container = run("web", healthcheck=probe)
    wait_until(lambda: docker.inspect_container("nas", "web").health == "healthy", 20, "not healthy")
    container.stop(timeout=0)
    actions = [each["action"] for each in call("docker_events", container="web").data["events"]]
    assert actions[:2] == ["create", "start"]
    assert "health_status: healthy" in actions
    assert actions[-2:] == ["die", "stop"]
    assert not [each for each in actions if each.startswith("exec")]


@pytest.mark.e2e
def test_evidence_keeps_logs_inspection_and_events_without_values_of_the_environment(run: Run) -> None:
    run("web", "echo was here; sleep 1000")
    wait_until(lambda: "was here" in str(docker.evidence("nas", "web")["logs"]), 10, "no logs")
    kept = docker.evidence("nas", "web")
    assert kept["inspect"]["Config"]["Env"] == ["PASSWORD", "EMPTY"]
    assert [each["action"] for each in kept["events"]] == ["create", "start"]
    assert SECRET not in json.dumps(kept)


# --- the change --------------------------------------------------------------------------------


@pytest.mark.e2e
def test_restart(run: Run, engine: Docker) -> None:
    container = run("web")
    engine.kill_process("web")
    wait_for_end(container)
    before = docker.inspect_container("nas", "web")
    docker.restart("nas", "web")
    after = docker.inspect_container("nas", "web")
    assert (after.running, after.id) == (True, before.id)
    assert after.started_at != before.started_at
    assert docker.stopped_by("nas", "web") is None


@pytest.mark.e2e
def test_a_restart_whose_answer_is_lost_is_found_in_the_engines_events(
    run: Run, engine: Docker, settings: Any
) -> None:
    container = run("web")
    upstream = engine.client.api

    class HangsUp(BaseHTTPRequestHandler):
        """Passes a restart on, and is gone before its answer comes."""

        def do_GET(self) -> None:
            answer = upstream.get(upstream.base_url + self.path)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def do_POST(self) -> None:
            upstream.post(upstream.base_url + self.path)

        def log_message(self, *_: object) -> None:
            pass

    since = docker.clock("nas")
    with serve(HangsUp) as url:
        settings.DOCKER_HOSTS = {"nas": url.replace("http://", "tcp://")}
        with pytest.raises(ToolError) as caught:
            docker.restart("nas", "web")
        assert caught.value.unanswered
        assert (
            docker.happened_since("nas", "web", event="restart", container_id=str(container.id), since=since)
            is True
        )


@pytest.mark.e2e
def test_what_cannot_be_restarted_says_why(engine: Docker) -> None:
    with pytest.raises(ToolError, match="No such container"):
        docker.restart("nas", "nobody")
    with pytest.raises(ToolError, match="no Docker host is named 'moon'"):
        docker.restart("moon", "web")


# --- without an engine -------------------------------------------------------------------------


def test_an_engine_that_never_answers_is_given_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.tools.docker_engine.TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.DOCKER_HOSTS = {"hung": f"tcp://127.0.0.1:{silent.getsockname()[1]}"}
        started = time.monotonic()
        listing = docker.list_containers()
    assert time.monotonic() - started < 3
    assert listing.containers == ()
    assert "hung" in listing.errors


class Engine(BaseHTTPRequestHandler):
    """An engine with one container, which answers a restart with `status`; None: it hangs up instead."""

    status: int | None = None
    asked: list[str]

    def do_GET(self) -> None:
        container = {"Id": "a" * 64, "Name": "/web", "Config": {"StopTimeout": 0}}
        body = {"ApiVersion": "1.45"} if self.path.endswith("/version") else container
        self._answer(200, body)

    def do_POST(self) -> None:
        self.asked.append(self.path)
        if self.status is None:
            self.close_connection = True
        else:
            self._answer(self.status, {"message": "port is already allocated"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "unanswered"),
    [(500, False), (409, False), (404, False), (403, False), (None, True), (502, True), (504, True)],
)
def test_an_answer_that_nobody_heard_is_told_from_an_error(
    settings: Any, status: int | None, unanswered: bool
) -> None:
    asked: list[str] = []
    handler = type("Handler", (Engine,), {"status": status, "asked": asked})
    with serve(handler) as url:
        settings.DOCKER_HOSTS = {"nas": url.replace("http://", "tcp://")}
        with pytest.raises(ToolError) as caught:
            docker.restart("nas", "web")
    assert (caught.value.unanswered, asked) == (
        unanswered,
        ["/v1.45/containers/" + "a" * 64 + "/restart?t=0"],
    )


def test_a_restart_that_takes_longer_than_we_listen_is_unanswered(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = threading.Event()
    monkeypatch.setattr("agents.tools.docker_engine.TIMEOUT", 0.3)
    handler = type("Handler", (Engine,), {"do_POST": lambda self: ends.wait(20)})
    with serve(handler) as url:
        settings.DOCKER_HOSTS = {"nas": url.replace("http://", "tcp://")}
        with pytest.raises(ToolError) as caught:
            docker.restart("nas", "web")
        ends.set()
    assert caught.value.unanswered


def test_a_host_that_cannot_be_reached_was_asked_for_nothing(settings: Any) -> None:
    settings.DOCKER_HOSTS = {"gone": "tcp://127.0.0.1:1"}
    with pytest.raises(ToolError) as caught:
        docker.restart("gone", "web")
    assert not caught.value.unanswered


def test_without_hosts_there_is_nothing(settings: Any) -> None:
    settings.DOCKER_HOSTS = {}
    assert docker.list_containers() == docker.Listing((), {})
    assert docker.DOCKER.configured() is False
    assert docker.DOCKER.check().ok is None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"plain", "plain"),
        (b"tab\there", "tab\there"),
        (b"\x1b[1;31mred\x1b[0m\r", "red"),
        (b"\x00\xff", r"\x00\xff"),
        ("Ü\u202eevil".encode(), r"Ü\u202eevil"),
    ],
)
def test_log_lines_are_printable(line: bytes, text: str) -> None:
    assert printable(line) == text


CGROUP_V2 = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 2_000},
        "system_cpu_usage": 10_000,
        "online_cpus": 4,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 6_000},
    "memory_stats": {"usage": 1_000, "limit": 4_000, "stats": {"inactive_file": 200}},
    "pids_stats": {"current": 3},
}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "cpu_percent", 100.0),
        ({}, "memory_bytes", 800),
        ({}, "memory_percent", 20.0),
        (
            {"memory_stats": {"usage": 900, "limit": 0, "stats": {"total_inactive_file": 100}}},
            "memory_bytes",
            800,
        ),
        ({"memory_stats": {"usage": 900, "limit": 0}}, "memory_percent", None),
        ({"memory_stats": {}}, "memory_bytes", None),  # a kernel without the memory controller
        ({"precpu_stats": {}}, "cpu_percent", None),
        ({"precpu_stats": CGROUP_V2["cpu_stats"]}, "cpu_percent", None),
    ],
)
def test_use_is_counted_as_docker_does(changes: dict[str, Any], field: str, value: float | None) -> None:
    assert docker.usage({**CGROUP_V2, **changes})[field] == value
