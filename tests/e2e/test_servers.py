"""The servers that the end-to-end tests stand on do what those tests take for granted."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from . import openai_server as oai
from .require import require
from .servers import (
    Alertmanager,
    Docker,
    Json,
    Prometheus,
    free_port,
    http_session,
    missing,
    scrape_job,
    wait_until,
)

pytestmark = pytest.mark.e2e

TOKEN = "a-token-of-the-test"


class Receiver:
    """Takes Alertmanager's posts: ``posts`` holds (Authorization header, payload, time.monotonic())."""

    def __init__(self) -> None:
        self.posts: list[tuple[str | None, Json, float]] = []
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posts.append((self.headers["Authorization"], payload, time.monotonic()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def wait(self, status: str, timeout: float, **labels: str) -> tuple[Json, float]:
        """The first (payload, arrival) of ``status`` with an alert of these labels."""

        def arrived() -> tuple[Json, float] | None:
            for authorization, payload, at in list(self.posts):
                assert authorization == f"Bearer {TOKEN}"
                carried = [alert["labels"].items() for alert in payload["alerts"]]
                if payload["status"] == status and any(labels.items() <= items for items in carried):
                    return payload, at
            return None

        return wait_until(arrived, timeout, f"no {status} notification for {labels}")


@pytest.fixture(scope="module")
def docker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    require("docker")
    with Docker(tmp_path_factory.mktemp("docker")) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: Receiver) -> Iterator[Alertmanager]:
    require("alertmanager")
    with Alertmanager(tmp_path / "alertmanager", webhook_url=receiver.url, token=TOKEN) as server:
        yield server


def test_killed_container_alerts_and_its_restart_resolves(
    docker_server: Docker,
    alertmanager: Alertmanager,
    receiver: Receiver,
    tmp_path: Path,
    record_property: Any,
) -> None:
    require("prometheus")
    port = free_port()
    container = docker_server.run_web("shop", port, labels={"tier": "web"})
    rule = {
        "alert": "WebDown",
        "expr": 'up{job="shop"} == 0',
        "for": "0s",
        "labels": {"container": "shop"},
        "annotations": {"summary": "shop does not answer"},
    }
    with Prometheus(
        tmp_path / "prometheus", jobs=[scrape_job("shop", port)], rules=[rule], alertmanager=alertmanager.url
    ) as prometheus:
        wait_until(lambda: prometheus.query("web_ready == 1"), 20, "the container's page is not scraped")
        since = datetime.now(UTC)
        docker_server.kill_process("shop")
        killed = time.monotonic()
        fired, fired_at = receiver.wait("firing", 20, alertname="WebDown", container="shop")
        assert fired["alerts"][0]["generatorURL"].startswith(prometheus.url + "/")
        assert fired["alerts"][0]["annotations"] == {"summary": "shop does not answer"}
        assert [alert["state"] for alert in prometheus.alerts()] == ["firing"]
        container.restart()
        restarted = time.monotonic()
        resolved, resolved_at = receiver.wait("resolved", 20, alertname="WebDown")
    assert resolved["groupKey"] == fired["groupKey"]
    record_property("kill_to_webhook_s", round(fired_at - killed, 2))
    record_property("restart_to_resolved_s", round(resolved_at - restarted, 2))
    actions = _actions(docker_server, "shop", since)
    assert actions.index("die") < actions.index("restart")
    assert not {"kill", "stop"} & set(actions[: actions.index("die")])


def _actions(server: Docker, name: str, since: datetime) -> list[str]:
    """What Docker reports of a container from ``since`` until now, in order."""
    span = (since - timedelta(seconds=1), datetime.now(UTC) + timedelta(seconds=1))
    start, end = (moment.replace(tzinfo=None) for moment in span)
    events = server.client.events(since=start, until=end, filters={"container": name}, decode=True)
    return [event["Action"] for event in events]


def test_container_logs_stops_at_once_and_is_not_killed_twice(docker_server: Docker) -> None:
    container = docker_server.run_web("logger", free_port())
    assert b"logger: serving http://127.0.0.1:" in container.logs()
    started = time.monotonic()
    container.stop()
    assert time.monotonic() - started < 5
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0
    with pytest.raises(RuntimeError, match="is not running"):
        docker_server.kill_process("logger")


def test_restart_policy_and_command(docker_server: Docker) -> None:
    kept = docker_server.run_web("kept", free_port(), restart="always")
    first = docker_server.kill_process("kept")

    def revived() -> bool:
        kept.reload()
        return kept.attrs["State"]["Pid"] not in (0, first)

    wait_until(revived, 10, "Docker did not restart the container")
    failing = docker_server.run_web("failing", free_port(), command=["sh", "-c", "echo $NAME; exit 3"])
    assert failing.wait()["StatusCode"] == 3
    assert failing.logs() == b"failing\n"


def test_two_dockers_side_by_side_and_nothing_left(docker_server: Docker, tmp_path: Path) -> None:
    with Docker(tmp_path / "second") as second:
        second.run_web("only-here", free_port(), restart="always")
        assert "only-here" not in [c.name for c in docker_server.client.containers.list(all=True)]
        pids = _pids_naming(str(second.run))
        assert pids
    wait_until(lambda: not pids & _pids_naming(str(second.run)), 5, "processes are left")
    mounts = Path("/proc/mounts").read_text()
    assert str(second.run) not in mounts
    assert str(second.directory) not in mounts
    assert not second.run.exists()
    assert {entry.suffix for entry in second.directory.iterdir()} == {".log"}


def test_killed_daemon_leaves_no_container(tmp_path: Path) -> None:
    require("docker")
    port = free_port()
    with Docker(tmp_path) as server:
        server.run_web("orphan", port)
        pid = int((server.run / "docker.pid").read_text())
        os.kill(pid, 9)
    wait_until(lambda: not _pids_naming(str(server.run)), 5, "processes are left")
    with pytest.raises(requests.ConnectionError):
        http_session().get(f"http://127.0.0.1:{port}/", timeout=2)


def _pids_naming(text: str) -> set[int]:
    """The processes whose command line holds ``text`` (an ended one's is empty)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_text(errors="replace"):
                found.add(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_prometheus_reload_takes_new_rules_and_refuses_wrong_ones(tmp_path: Path) -> None:
    require("prometheus")
    with Prometheus(tmp_path, jobs=[], rules=[]) as prometheus:
        prometheus.reload(rules=[{"alert": "Always", "expr": "vector(1)"}])
        wait_until(prometheus.alerts, 15, "the new rule does not fire")
        with pytest.raises(RuntimeError, match="answered 500"):
            prometheus.reload(rules=[{"alert": "Broken", "expr": "up =="}])


def test_alert_that_fires_before_alertmanager_is_found_arrives(
    alertmanager: Alertmanager, receiver: Receiver, tmp_path: Path
) -> None:
    require("prometheus")
    rules = [{"alert": "Early", "expr": "vector(1)"}]
    with Prometheus(tmp_path / "prometheus", jobs=[], rules=rules, alertmanager=alertmanager.url):
        receiver.wait("firing", 20, alertname="Early")


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    require("prometheus")
    with pytest.raises(RuntimeError, match="job_name"), Prometheus(tmp_path, jobs=[{}], rules=[]):
        pass


def test_alertmanager_posts_and_resolves_an_alert(alertmanager: Alertmanager, receiver: Receiver) -> None:
    labels = {"alertname": "DiskFull", "instance": "nas"}
    alertmanager.post_alert(labels, {"summary": "disk"}, "http://127.0.0.1:1/graph")
    fired, _ = receiver.wait("firing", 10, alertname="DiskFull")
    assert fired["alerts"][0]["generatorURL"] == "http://127.0.0.1:1/graph"
    alertmanager.post_alert(labels, ends_at=datetime.now(UTC))
    receiver.wait("resolved", 10, alertname="DiskFull")
    with pytest.raises(RuntimeError, match="400"):
        alertmanager.post_alerts([{"labels": {}}])


def test_wait_until_gives_the_value_or_its_message() -> None:
    assert wait_until(lambda: [1], 1, "unused") == [1]
    with pytest.raises(TimeoutError, match="nothing came"):
        wait_until(lambda: None, 0.1, "nothing came")


def test_missing_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert "apt-get install" in (missing("prometheus") or "")
    monkeypatch.delenv("HOMELAB_TEST_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install"):
        require("prometheus", "docker")
    monkeypatch.setenv("HOMELAB_TEST_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install"):
        require("prometheus", "docker")


def _ask(server: oai.OpenAIServer, messages: list[Json], **more: Any) -> requests.Response:
    headers = {"Authorization": "Bearer key"}
    body = {"model": "scripted", "messages": messages, **more}
    return http_session().post(f"{server.base_url}/chat/completions", json=body, headers=headers, timeout=5)


def test_openai_server_calls_a_tool_and_then_answers() -> None:
    call = oai.tool_call("restart", {"container": "shop"}, id="call_1")

    def script(request: Json) -> Json:
        if request["messages"][-1]["role"] == "tool":
            return oai.say({"verdict": "done"})
        return oai.call_tools(call)

    with oai.OpenAIServer(script, api_key="key") as server:
        talk: list[Json] = [{"role": "user", "content": "long " * 2000}]
        first = _ask(server, talk).json()
        assert first["object"] == "chat.completion"
        assert first["choices"][0]["finish_reason"] == "tool_calls"
        assert first["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
        talk.append(first["choices"][0]["message"])
        assert _ask(server, talk).status_code == 400  # the call was not answered
        talk.append({"role": "tool", "tool_call_id": "call_1", "content": "ok"})
        second = _ask(server, talk).json()
    assert json.loads(second["choices"][0]["message"]["content"]) == {"verdict": "done"}
    assert second["choices"][0]["finish_reason"] == "stop"
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 1024 <= cached <= second["usage"]["prompt_tokens"]
    assert [len(request["messages"]) for request in server.chats] == [1, 2, 3]
    assert server.requests[0].headers["authorization"] == "Bearer key"


def test_openai_server_fails_as_told() -> None:
    answers = iter([oai.rate_limited(2), oai.error(500, "down"), oai.malformed(), oai.Response(hang=True)])
    with oai.OpenAIServer(lambda _: next(answers), api_key="key") as server:
        limited, broken, cut = (_ask(server, [{"role": "user", "content": "?"}]) for _ in range(3))
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{server.base_url}/chat/completions",
                json={"model": "m", "messages": [{"role": "user", "content": "?"}]},
                headers={"Authorization": "Bearer key"},
                timeout=0.3,
            )
        refused = requests.get(f"{server.base_url}/models", headers={"Authorization": "no"}, timeout=5)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "2")
    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "server_error")
    assert cut.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        cut.json()
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_openai_server_embeds_and_lists_models() -> None:
    with oai.OpenAIServer(lambda _: oai.say("unused"), models=("a", "b")) as server:
        body = {"model": "a", "input": ["disk full", "disk is full", "cat"]}
        answer = http_session().post(f"{server.base_url}/embeddings", json=body, timeout=5).json()
        models = http_session().get(f"{server.base_url}/models", timeout=5).json()
    one, near, far = (entry["embedding"] for entry in answer["data"])
    assert _dot(one, near) > _dot(one, far)
    assert _dot(one, one) == pytest.approx(1)
    assert [model["id"] for model in models["data"]] == ["a", "b"]


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_failing_script_fails_its_test() -> None:
    def script(_: Json) -> Json:
        raise AssertionError("unexpected request")

    with (
        pytest.raises(AssertionError, match="unexpected request"),
        oai.OpenAIServer(script) as server,
        pytest.raises(requests.ConnectionError),
    ):
        _ask(server, [{"role": "user", "content": "?"}])
