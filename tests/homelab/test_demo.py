"""The demo's parts: what the terminal shows, what changed in the metrics, what is said when it cannot run."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from homelab.demo import alert, client, container, metrics, play, real, simulated
from homelab.demo.__main__ import main, options
from homelab.demo.narration import Line, Narration
from homelab.demo.service import Service, free_port
from homelab.demo.terminal import Terminal
from incidents.alertmanager import parse_webhook

HEALTH = {"service": "homelab-ai-agents", "version": "1.2.3", "status": "healthy"}
TOKENS = {"ingest": "hl_i", "operator": "hl_o", "viewer": "hl_v", "admin": "hl_a"}


# --- the terminal ------------------------------------------------------------------------------
def terminal(**options: Any) -> Terminal:
    return Terminal(io.StringIO(), **{"width": 72, **options})


def shown(screen: Terminal) -> list[str]:
    assert isinstance(screen.out, io.StringIO)
    return screen.out.getvalue().splitlines()


def test_columns_are_aligned_and_long_texts_stay_in_theirs() -> None:
    screen = terminal(began=time.time() - 100)
    screen.tell("analyst", "word " * 20, ["detail " * 10], at=screen.began + 2.14)
    screen.tell("communicator", "short", at=screen.began + 63)
    lines = shown(screen)
    assert lines[0].startswith("+   2.1 s  analyst       word word")
    assert lines[-1] == "+  63.0 s  communicator  short"
    assert all(line.startswith(" " * 25 + start) for line, start in zip(lines[1:3], "ww", strict=True))
    assert max(map(len, lines)) <= 72


def test_times_never_run_backwards_and_never_into_the_future() -> None:
    screen = terminal(began=time.time() - 10)
    for at in (5.0, 3.0, 5000.0):
        screen.tell("proof", "seen", at=screen.began + at)
    assert [line.split()[1] for line in shown(screen)] == ["5.0", "5.0", "10.0"]


def test_every_line_of_a_simulation_says_so_and_none_says_the_word() -> None:
    screen = terminal(mark=simulated.MARK, never=simulated.NEVER)
    screen.heading("Verified things")
    screen.tell("analyst", "verified " * 30, ["last time: VERIFIED"])
    screen.fact("verdict", "unverified " * 10)
    lines = shown(screen)
    assert len(lines) > 6
    assert all(line.startswith("SIMULATED  ") for line in lines)
    assert "verified" not in "\n".join(lines).lower()


def test_strangers_words_cannot_steer_the_terminal() -> None:
    screen = terminal()
    screen.tell("x\x1b[2J", "a\x1b]0;title\x07b", ["c\rd"])
    screen.fact("page", "e\x9bf")
    assert all(line.isprintable() for line in shown(screen))


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "variables", "colour"),
    [
        (Tty(), {"TERM": "xterm"}, True),
        (Tty(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Tty(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, out: io.StringIO, variables: dict[str, str], colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Terminal.of(out)
    screen.tell("proof", "cleared")
    assert ("\x1b[32m" in out.getvalue()) is colour


def test_the_waiting_line_is_for_terminals_and_leaves_no_trace() -> None:
    screen = terminal()
    screen.waiting("waits")
    assert shown(screen) == []
    out = Tty()
    live = Terminal(out, live=True)
    live.waiting("waits")
    live.blank()
    assert out.getvalue().endswith("\r\x1b[K\n")


@pytest.mark.parametrize(
    ("said", "yes"), [("y", True), ("YES ", True), ("n", False), ("", False), ("x", False)]
)
def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch, said: str, yes: bool) -> None:
    monkeypatch.setattr("builtins.input", lambda _: said)
    assert terminal().ask("Approve?") is yes


# --- the narration -----------------------------------------------------------------------------
def event(pk: int, kind: str, actor: str, text: str, **data: Any) -> dict[str, Any]:
    at = datetime(2026, 1, 1, 0, 0, pk, tzinfo=UTC).isoformat()
    return {"id": pk, "incident": 7, "at": at, "kind": kind, "actor": actor, "text": text, "data": data}


RESTART = "restart container docker:h/x"
RUNS = [
    {
        "steps": [
            {
                "id": 2,
                "rung_reason": "no model is configured",
                "output": {
                    "claims": [
                        {"quote": "exit_code: 137", "found": True},
                        {"quote": "invented", "found": False},
                    ]
                },
            }
        ]
    }
]


def narrate(*events: dict[str, Any], told: Narration | None = None, channel: str = "none") -> list[Line]:
    message = {"id": 1, "title": "WARN x down", "channel": channel}
    incident = {"events": list(events), "notifications": [message]}
    told = told or Narration()
    return list(told.lines(told.news(incident), incident=incident, runs=RUNS))


def test_a_diagnosis_comes_with_its_checked_quotes_and_its_rung() -> None:
    [line] = narrate(event(1, "agent", "analyst", "CONFIRMED: killed", step=2, rung="playbooks"))
    assert (line.actor, line.text) == ("analyst", "CONFIRMED: killed")
    assert line.details == ("quotes, checked: “exit_code: 137”", "rung: playbooks (no model is configured)")
    assert line.at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()


def test_nothing_is_said_twice() -> None:
    lines = narrate(
        event(1, "opened", "alertmanager", "x is down"),
        event(2, "agent", "healer", "It crashed.", rung="playbooks"),
        event(3, "proposed", "healer", f"{RESTART}: It crashed.", action=1),
        event(4, "asked", "authorize", f"{RESTART}: REMEDIATION_MODE is approve", action=1),
        event(5, "status", "healer", f"waits for a yes to: {RESTART}", to="awaiting_approval"),
        event(6, "approved", "operator", f"approved: {RESTART}"),
        event(7, "status", "operator", f"goes ahead: {RESTART}", to="acting"),
        event(8, "executed", "executor", f"{RESTART}: Done"),
        event(9, "status", "executor", "watching the expression", to="proving"),
        event(10, "status", "proof", "cleared_before_action: x is running", to="closed"),
    )
    assert [f"{line.actor} {line.text}" for line in lines] == [
        "alertmanager opens incident #7: x is down",
        "healer It crashed.",
        f"healer proposes: {RESTART}",
        "authorize asks a person: REMEDIATION_MODE is approve",
        f"operator approved: {RESTART}",
        "executor Done",
        "proof cleared_before_action: x is running",
    ]


def test_what_was_told_is_not_told_again() -> None:
    told = Narration()
    first, second = event(1, "status", "crew", "takes it up"), event(2, "proof", "proof", "cleared")
    assert len(narrate(first, told=told)) == 1
    assert [line.text for line in narrate(first, second, told=told)] == ["cleared"]
    assert narrate(first, second, told=told) == []


def test_an_action_that_needs_nobodys_yes_is_allowed() -> None:
    lines = narrate(
        event(1, "agent", "healer", "because"),
        event(2, "proposed", "healer", f"{RESTART}: because"),
        event(3, "allowed", "authorize", RESTART),
    )
    assert [line.text for line in lines[1:]] == [f"proposes: {RESTART}", "allows it"]


def test_a_message_that_nobody_gets_is_not_said_to_be_told() -> None:
    said = event(1, "agent", "communicator", "told people")
    [nobody], [somebody] = narrate(said), narrate(said, channel="tgram")
    assert "NOTIFY_URLS is not set" in nobody.text
    assert somebody.text == "tells people:"
    assert nobody.details == somebody.details == ("“WARN x down”",)


# --- the metrics -------------------------------------------------------------------------------
BEFORE = """# HELP ai_agents_incidents_total Incidents
ai_agents_tool_calls_total{tool="docker",outcome="ok"} 1.0
ai_agents_tool_calls_total{tool="network",outcome="ok"} 2.0
ai_agents_alerts_total 4.0
ai_agents_success_rate NaN
ai_agents_tool_duration_seconds_sum{tool="docker"} 1.0
django_http_requests_total 5.0
"""


def test_the_few_that_tell_the_story_are_shown_without_their_labels() -> None:
    after = BEFORE.replace("alerts_total 4.0", "alerts_total 5.0").replace("rate NaN", "rate 0.5")
    after = after.replace('"} 1.0', '"} 6.0').replace("requests_total 5.0", "requests_total 9.0")
    after += 'ai_agents_incidents_closed_total{verdict="verified"} 1.0\n'
    assert list(metrics.table(BEFORE, after)) == [
        "ai_agents_alerts_total            4 → 5",
        "ai_agents_tool_calls_total        3 → 8",
        "ai_agents_incidents_closed_total  0 → 1",
    ]
    assert list(metrics.table(after, after)) == []
    assert list(metrics.table("", "")) == []


# --- the server --------------------------------------------------------------------------------
@contextmanager
def fake_server(answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Answers per path; the URL, and the requests with their tokens."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '-')}")
            code, body = answers.get(self.path, (404, {"detail": "Not found."}))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in TOKENS:
        monkeypatch.delenv(f"HOMELAB_TOKEN_{role.upper()}", raising=False)


def first_run(data: Path, url: str) -> None:
    content = {"url": url, "admin": {"username": "admin", "password": "x"}, "tokens": TOKENS}
    (data / "first-run.json").write_text(json.dumps(content))


def test_the_server_and_the_tokens_are_those_of_the_first_run(tmp_path: Path) -> None:
    with fake_server({"/health": (200, HEALTH), "/alert": (200, {"incidents": [4]})}) as (url, asked):
        first_run(tmp_path, url)
        server = client.connect(url=None, token=None, data_dir=tmp_path)
        assert server.send_alert({}) == [4]
        assert server.page(4) == f"{url}/incidents/4"
    assert asked == [
        "GET /health -",
        "POST /alert Bearer hl_i",
        "POST /api/v1/actions/0/approve Bearer hl_o",
        "POST /alert Bearer hl_i",
    ]


def test_after_a_change_of_the_port_the_settings_know_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_run(tmp_path, f"http://127.0.0.1:{free_port()}")
    with fake_server({"/health": (200, HEALTH)}) as (url, _):
        monkeypatch.setenv("PORT", url.rpartition(":")[2])
        assert client.connect(url=None, token=None, data_dir=tmp_path).url == url


def test_without_a_server_one_line_says_how_to_start_it(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(client.DemoError, match="start it with `make run`"):
        client.connect(url=url, token="hl_a", data_dir=tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["--url", url])
    assert url in str(ended.value)
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize("body", [{"service": "other"}, ["x"], "<html>"])
def test_another_program_at_that_address_is_not_mistaken_for_it(tmp_path: Path, body: Any) -> None:
    with (
        fake_server({"/health": (200, body)}) as (url, _),
        pytest.raises(client.DemoError, match="is no homelab"),
    ):
        client.connect(url=url, token="hl_a", data_dir=tmp_path)


def test_without_tokens_one_line_says_how_to_make_one(tmp_path: Path) -> None:
    with fake_server({"/health": (200, HEALTH)}) as (url, _), pytest.raises(client.DemoError) as error:
        client.connect(url=url, token=None, data_dir=tmp_path)
    assert "first-run.json is not there" in str(error.value)
    assert "manage.py tokens create" in str(error.value)


def test_tokens_as_given_go_before_the_environment_and_that_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.tokens(None, TOKENS, tmp_path) == {"ingest": "hl_i", "operator": "hl_o"}
    monkeypatch.setenv("HOMELAB_TOKEN_ADMIN", "of admin")
    monkeypatch.setenv("HOMELAB_TOKEN_INGEST", "of ingest")
    assert client.tokens(None, TOKENS, tmp_path) == {"ingest": "of ingest", "operator": "of admin"}
    assert client.tokens("given", TOKENS, tmp_path) == {"ingest": "given", "operator": "given"}


def test_a_refused_token_a_closed_question_and_a_lost_server_are_said_in_words() -> None:
    answers = {"/alert": (401, {}), "/api/v1/actions/1/approve": (410, {"detail": "it is expired"})}
    with fake_server(answers) as (url, _):
        server = client.Server(url, TOKENS)
        with pytest.raises(client.DemoError, match="refuses the ingest token"):
            server.send_alert({})
        with pytest.raises(client.Gone, match="it is expired"):
            server.approve(1)
        with pytest.raises(client.DemoError, match="answered 404: Not found"):
            server.incident(1)
    with pytest.raises(client.DemoError, match="went away"):
        server.incident(1)


def test_metrics_that_may_not_be_read_are_no_metrics() -> None:
    with fake_server({"/metrics": (401, "a token is needed")}) as (url, _):
        assert client.Server(url, TOKENS).metrics() == ""


# --- what it breaks, and the alert about it ------------------------------------------------------
def test_the_alert_is_what_alertmanager_would_send() -> None:
    sent = real.alert_about(container.Container("h"))
    for firing in (True, False):
        [read] = parse_webhook(json.dumps(alert.delivery(sent, firing=firing)).encode()).alerts
        assert (read.name, read.firing, read.severity) == ("HomelabDemoContainerDown", firing, "warning")
        assert read.labels["host"] == "h"
        assert read.labels["container"].startswith("homelab-demo-")
        assert read.generator_url == ""


def test_two_demos_share_no_group() -> None:
    keys = {
        alert.delivery(real.alert_about(container.Container("h")), firing=True)["groupKey"] for _ in range(2)
    }
    assert len(keys) == 2


def test_an_alertmanager_that_brings_nothing_is_polled_and_then_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(alert, "POLL_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(alert, "GIVE_UP_SECONDS", 0.3)
    answers = {
        "/api/v2/alerts": (200, ""),
        "/api/v1/incidents?limit=20": (200, {"results": []}),
        "/trigger-health-check": (202, {}),
        "/alert": (200, {"incidents": [9]}),
    }
    with fake_server(answers) as (url, asked):
        screen = terminal()
        road = alert.Alertmanager(url, client.Server(url, TOKENS), screen)
        assert road.fire(real.alert_about(container.Container("h"))) == 9
    posts = [line.split()[1] for line in asked if line.startswith("POST")]
    assert posts == ["/api/v2/alerts", "/trigger-health-check", "/alert"]
    text = " ".join(" ".join(shown(screen)).split())
    assert "has homelab poll Alertmanager" in text
    assert "posts the webhook itself" in text


def test_the_service_starts_dies_and_leaves_nothing() -> None:
    service = Service()
    service.start()
    assert service._accepts()
    service.kill()
    assert not service._accepts()
    service.start()
    service.remove()
    assert not service._accepts()
    assert not Path(service._directory.name).exists()


def test_without_an_image_one_is_made_of_busybox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "busybox"
    binary.write_bytes(b"elf")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(container.root_file_system())) as archive:
        assert archive.getnames() == ["bin", "bin/busybox", "bin/sh", "bin/sleep"]
        assert archive.getmember("bin/sh").linkname == "busybox"
        assert archive.getmember("bin/busybox").mode == 0o755


def test_without_docker_it_says_why_it_only_simulates(settings: Any) -> None:
    settings.DOCKER_HOSTS = {}
    assert container.find_host() == (None, "no Docker engine is configured (DOCKER_HOSTS)")
    settings.DOCKER_HOSTS = {"nas": "unix:///nowhere.sock"}
    host, why = container.find_host()
    assert host is None
    assert "nas" in why


def test_what_stays_behind_is_named_and_keeps_nothing_else_from_being_cleared_up() -> None:
    screen = terminal()

    def fail() -> None:
        raise client.DemoError("away")

    play._tidy(screen, "the container x", fail)
    assert shown(screen) == ["Left behind: the container x: away"]


def test_arguments() -> None:
    chosen = options(["--url", "http://h:1", "--token", "t", "--yes"])
    assert (chosen.url, chosen.token, chosen.yes) == ("http://h:1", "t", True)
    chosen = options([])
    assert (chosen.url, chosen.token, chosen.yes) == (None, None, False)
    with pytest.raises(SystemExit):
        options(["--no-such"])
