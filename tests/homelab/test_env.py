"""Settings come from the environment; a bad value names its variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from homelab import dotenv, env, listen
from homelab.env import ConfigError

ROOT = Path(__file__).resolve().parents[2]
BAD = {
    "PROMETHEUS_URL": "prometheus:9090",
    "ALERTMANAGER_URL": "ftp://am",
    "OPENAI_BASE_URL": "localhost",
    "OPENAI_FALLBACK_BASE_URL": "http://nas:11434/v1",  # which model?
    "OPENAI_FALLBACK_MODEL": "llama",  # where?
    "AGENT_SECONDS": "600",
    "AGENT_STEPS": "0",
    "STORM_INCIDENTS": "many",
    "QDRANT_URL": "qdrant",
    "RUNBOOKS_DIR": "/no/such/folder",
    "PUBLIC_URL": "home",
    "DATABASE_URL": "mysql://db/homelab",
    "DOCKER_HOSTS": "nas",
    "DOCKER_HOST": "nas:2375",
    "REMEDIATION_MODE": "yolo",
    "REMEDIATION_ACTIONS": "restart_container=yolo",
    "MAINTENANCE_FILE": "/no/such/file.yml",
    "SILENCE_MAX_MINUTES": "0",
    "PROOF_HOLD_SECONDS": "soon",
    "WORKER_THREADS": "2",
    "LLM_BUDGET_DAILY_USD": "-1",
    "LLM_BUDGET_MONTHLY_USD": "much",
    "LLM_BUDGET_INCIDENT_USD": "inf",
    "LLM_PRICES": "gpt-4o-mini=cheap",
    "TELEGRAM_BOT_TOKEN": "1:a",
    "ESCALATION_URLS": "json://localhost/",  # after whom?
    "ESCALATE_MINUTES": "soon",
    "QUIET_HOURS": "22-7",
    "WEEKLY_REPORT": "monday",
    "HOMELAB_OPEN_READ": "perhaps",
    "TZ": "Mars/Olympus",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "tempo:4318",
    "TRACE_URL_TEMPLATE": "https://tempo.example.org/trace/",
    "LOG_URL_TEMPLATE": "https://grafana.example.org/explore",
    "LOG_LEVEL": "loud",
    "REDIS_URL": "http://redis",
    "TRUSTED_PROXIES": "proxy",
    "REMOTE_USER_HEADER": "Remote-User",  # whose groups get in?
    "REMOTE_GROUPS_HEADER": "Remote Groups",
    "SSO_GROUPS": "ops=root",
}


SHOW = "from django.conf import settings as s; print(s.OPENAI_API_KEY, s.REMEDIATION_MODE)"


def settings_with(tmp_path: Path, *, code: str = SHOW, **variables: str) -> subprocess.CompletedProcess[str]:
    """Import the settings in a process that has nothing but these variables."""
    base = {
        "PATH": os.environ["PATH"],
        "HOMELAB_ENV_FILE": os.devnull,
        "HOMELAB_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "homelab.settings",
        "DOCKER_HOST": "off",
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=base | variables, capture_output=True, text=True
    )


def test_own_prices_are_read(tmp_path: Path) -> None:
    """A model's name may hold `=` and `:`; cached input costs what input does, unless it is said."""
    code = (
        "from django.conf import settings as s; print({k: (*map(str, v),) for k, v in s.LLM_PRICES.items()})"
    )
    said = settings_with(tmp_path, code=code, LLM_PRICES="gpt-4o-mini = 0.15, 0.6, 0.075; qwen:a=b=0,0;")
    assert said.stdout.strip() == str({"gpt-4o-mini": ("0.15", "0.6", "0.075"), "qwen:a=b": ("0", "0", "0")})


@pytest.mark.parametrize("value", ["m", "m=1", "=1,2", "m=1,-2", "m=1,nan", "m=1,2,3,4", "m=1,2;m=1,2"])
def test_prices_that_cannot_be_read(tmp_path: Path, value: str) -> None:
    said = settings_with(tmp_path, LLM_PRICES=value)
    assert said.returncode != 0
    assert "LLM_PRICES: wants model=input,output" in said.stderr


@pytest.mark.parametrize(("name", "value"), BAD.items())
def test_a_bad_value_stops_the_start_and_names_its_variable(tmp_path: Path, name: str, value: str) -> None:
    done = settings_with(tmp_path, **{name: value})
    assert done.returncode != 0
    assert f"ConfigError: {name}" in done.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"NOTIFY_URLS": "hunter2"}, "NOTIFY_URLS: number 1"),
        ({"NOTIFY_URLS": "json://localhost/, nonsense://hunter2"}, "NOTIFY_URLS: number 2"),
        ({"NOTIFY_URLS": "discord://hunter2"}, "NOTIFY_URLS: number 1"),
        (
            {"NOTIFY_URLS": "json://localhost/", "ESCALATION_URLS": "json://localhost/, nonsense://hunter2"},
            "ESCALATION_URLS: number 2",
        ),
        (
            {"TELEGRAM_BOT_TOKEN": "hunter2", "TELEGRAM_CHAT_ID": "x"},
            "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID",
        ),
    ],
)
def test_a_channel_that_nobody_can_read_stops_the_start_and_is_not_printed(
    tmp_path: Path, variables: dict[str, str], named: str
) -> None:
    done = settings_with(tmp_path, code="import django; django.setup()", **variables)
    assert done.returncode != 0
    assert f"ConfigError: {named} cannot be read" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_channels_that_can_be_read_do_not(tmp_path: Path) -> None:
    urls = "json://localhost/, tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/1234/"
    done = settings_with(tmp_path, code="import django; django.setup()", NOTIFY_URLS=urls)
    assert done.returncode == 0, done.stderr


def test_more_than_one_process_needs_a_qdrant_server(tmp_path: Path) -> None:
    done = settings_with(tmp_path, REDIS_URL="redis://127.0.0.1/0")
    assert "ConfigError: QDRANT_URL" in done.stderr


def test_an_empty_value_is_not_set(tmp_path: Path) -> None:
    done = settings_with(tmp_path, REMEDIATION_MODE="", OPENAI_API_KEY="", PROOF_HOLD_SECONDS="")
    assert done.stdout.split()[-2:] == ["None", "approve"], done.stderr


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-from-a-file\n")
    done = settings_with(tmp_path, OPENAI_API_KEY_FILE=str(tmp_path / "key"))
    assert "sk-from-a-file approve" in done.stdout, done.stderr


def test_the_environment_goes_before_dotenv(tmp_path: Path) -> None:
    file = tmp_path / "dotenv"
    file.write_text("OPENAI_API_KEY=sk-file\nREMEDIATION_MODE=auto\n")
    done = settings_with(tmp_path, HOMELAB_ENV_FILE=str(file), REMEDIATION_MODE="observe")
    assert "sk-file observe" in done.stdout, done.stderr


def test_the_server_listens_where_dotenv_says(tmp_path: Path) -> None:
    """gunicorn's configuration is read before anything else has asked for a setting."""
    file = tmp_path / "dotenv"
    file.write_text("HOMELAB_BIND=127.0.0.2\nPORT=5077\n")
    code = "from homelab import gunicorn; print(gunicorn.bind)"
    done = settings_with(tmp_path, code=code, HOMELAB_ENV_FILE=str(file))
    assert done.stdout.strip() == "['127.0.0.2:5077']", done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("REMEDIATION_MODE=auto\nOPENAI_API_KEY sk-hunter2\n", 2),
        ("\n# a comment\n\n  \nOPENAI_API_KEY: sk-hunter2", 5),
        ("TZ=UTC\r\nOPENAI_API_KEY='sk-hunter2\r\n", 2),
        ("PORT\n", 1),
    ],
)
def test_a_line_that_sets_nothing_stops_the_start_and_is_named(tmp_path: Path, text: str, line: int) -> None:
    """By its number: what it says may be a secret."""
    file = tmp_path / "dotenv"
    file.write_text(text, newline="")
    done = settings_with(tmp_path, HOMELAB_ENV_FILE=str(file))
    assert done.returncode != 0
    assert f"ConfigError: {file}, line {line}: wants NAME=value" in done.stderr
    assert "hunter2" not in done.stderr
    assert "python-dotenv" not in done.stderr


def test_an_env_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "dotenv").write_bytes(b"PORT=\xff\n")
    done = settings_with(tmp_path, HOMELAB_ENV_FILE=str(tmp_path / "dotenv"))
    assert f"ConfigError: {tmp_path}/dotenv cannot be read" in done.stderr


MISTYPED = "import django; django.setup(); from homelab import dotenv; print(*dotenv.mistyped(), sep='\\n')"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PROMETEUS_URL", "PROMETHEUS_URL"),
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("NOTIFY_URL", "NOTIFY_URLS"),
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("remediation_mode", "REMEDIATION_MODE"),
        ("OPENAI_API_KEY_FIEL", "OPENAI_API_KEY_FILE"),
    ],
)
def test_a_name_that_is_nearly_ours_is_doubted(tmp_path: Path, written: str, meant: str) -> None:
    file = tmp_path / "dotenv"
    file.write_text(f"{written}=x\n")
    done = settings_with(tmp_path, code=MISTYPED, HOMELAB_ENV_FILE=str(file))
    assert done.stdout == f"{written} in {file} is not known: did you mean {meant}?\n", done.stderr


def test_names_of_other_programs_and_our_own_are_not(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1")
    others = ["COMPOSE_PROJECT_NAME", "POSTGRES_PASSWORD", "OPENAI_API_BASE", "GRAFANA_URL", "HTTP_PROXY"]
    others += ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "REDIS_PASSWORD"]
    ours = [f"OPENAI_API_KEY_FILE={tmp_path}/key", "HOST=", "PORT=5001", "WEB_CONCURRENCY=1"]
    (tmp_path / "dotenv").write_text("\n".join([*(f"{name}=x" for name in others), *ours]))
    done = settings_with(tmp_path, code=MISTYPED, HOMELAB_ENV_FILE=str(tmp_path / "dotenv"))
    assert (done.stdout, done.returncode) == ("\n", 0), done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PROOF_HOLD_SECONDS", "soon", "'soon' is not a whole number"),
        ("LLM_BUDGET_DAILY_USD", "$5", "'$5' is not an amount of US dollars"),
        ("HOMELAB_OPEN_READ", "perhaps", "'perhaps' is not true or false"),
    ],
)
def test_what_is_no_number_is_shown_once(tmp_path: Path, name: str, value: str, said: str) -> None:
    done = settings_with(tmp_path, **{name: value})
    assert done.stderr.splitlines()[-1] == f"homelab.env.ConfigError: {name}: {said}"


def test_the_secret_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    settings_with(tmp_path)
    first = (tmp_path / "secret-key").read_text()
    settings_with(tmp_path)
    assert (tmp_path / "secret-key").read_text() == first
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("variables", "hosts"),
    [
        ({"DOCKER_HOSTS": "nas=tcp://nas:2375, two = unix:///two.sock"}, ["nas", "two"]),
        ({"DOCKER_HOST": "tcp://nas:2375"}, ["local"]),
        ({"DOCKER_HOST": "off"}, []),
    ],
)
def test_docker_hosts(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], hosts: list[str]) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert list(env.docker_hosts()) == hosts


@pytest.mark.parametrize("value", ["nas=tcp://a,nas=tcp://b", "nas", "nas=ssh://a"])
def test_docker_hosts_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DOCKER_HOSTS", value)
    with pytest.raises(ConfigError, match="DOCKER_HOSTS"):
        env.docker_hosts()


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HOST", "PORT", "HOMELAB_BIND", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_it_listens_on_loopback_unless_told_otherwise(unset: pytest.MonkeyPatch) -> None:
    assert (listen.bind(), listen.local_url()) == ("127.0.0.1:5000", "http://127.0.0.1:5000")
    unset.setenv("HOMELAB_BIND", "0.0.0.0")
    unset.setenv("PORT", "8080")
    assert (listen.bind(), listen.local_url()) == ("0.0.0.0:8080", "http://127.0.0.1:8080")
    unset.setenv("HOST", "::1")
    assert (listen.bind(), listen.local_url()) == ("[::1]:8080", "http://[::1]:8080")


def test_a_shells_own_host_variable_does_not_open_it_to_the_network(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("HOST", "nas.example.org")
    assert listen.bind() == "127.0.0.1:5000"


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "0"), ("PORT", "70000"), ("PORT", "web"), ("HOMELAB_BIND", "nas")]
)
def test_where_it_cannot_listen(unset: pytest.MonkeyPatch, name: str, value: str) -> None:
    unset.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        listen.address()


def test_one_process_in_embedded_mode(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("WEB_CONCURRENCY", "2")
    assert listen.processes(embedded=False) == 2
    with pytest.raises(ConfigError, match="WEB_CONCURRENCY"):
        listen.processes(embedded=True)


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://a b", "http://x:99999", "http://", "ftp://x", "x"]
)
def test_what_is_no_url_names_its_variable(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", address)
    with pytest.raises(ConfigError, match=r"^PROMETHEUS_URL: "):
        env.url("PROMETHEUS_URL")


def test_an_emptied_variable_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", "")
    assert env.url("PROMETHEUS_URL") is None
    assert os.environ["PROMETHEUS_URL"] == ""  # so that `.env` does not bring it back


def test_an_env_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOMELAB_ENV_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"^HOMELAB_ENV_FILE: there is no "):
        dotenv.read(tmp_path)


def test_a_data_directory_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("HOMELAB_DATA_DIR", str(impossible))
        with pytest.raises(ConfigError, match=r"^HOMELAB_DATA_DIR: cannot make "):
            env.data_directory(tmp_path)


MODELS = [("builtin", True), ("openai:x", True), ("bogus", False), ("/nope", False)]


@pytest.mark.parametrize(("value", "good"), MODELS)
def test_an_embedding_model_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, good: bool
) -> None:
    monkeypatch.setenv("EMBEDDING_MODEL", value)
    if good:
        assert env.embedding_model() == value
    else:
        with pytest.raises(ConfigError, match=r"^EMBEDDING_MODEL: "):
            env.embedding_model()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("reboot=auto", "'reboot' is none of restart_container, start_container"),
        ("stop_container", "wants stop_container=off"),
        ("stop_container=off,stop_container=auto", "each kind once"),
    ],
)
def test_a_mode_for_no_kind_of_change_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setenv("REMEDIATION_ACTIONS", value)
    with pytest.raises(ConfigError, match=rf"^REMEDIATION_ACTIONS: .*{told}"):
        env.kind_modes("REMEDIATION_ACTIONS")


def test_modes_by_kind_of_change_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMEDIATION_ACTIONS", "restart_container=auto, stop_container=off")
    modes = {"restart_container": "auto", "stop_container": "off"}
    assert env.kind_modes("REMEDIATION_ACTIONS") == modes


def test_a_bad_maintenance_entry_stops_the_start_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.yml"
    path.write_text("- {name: prune, description: x, targets: ['*'], command: [no-such-program]}")
    done = settings_with(tmp_path, MAINTENANCE_FILE=str(path))
    assert done.returncode != 0
    assert f"ConfigError: MAINTENANCE_FILE: {path}: entry 1 (prune): " in done.stderr
    path.write_text("- {name: prune, description: x, targets: ['*'], command: [echo]}")
    code = "from django.conf import settings as s; print([each.name for each in s.MAINTENANCE])"
    done = settings_with(tmp_path, code=code, MAINTENANCE_FILE=str(path))
    assert done.stdout.strip() == "['prune']", done.stderr


def test_behind_a_pooler_of_transactions_nothing_is_kept_on_a_connection() -> None:
    """Prepared statements and cursors are of one connection, and the next statement may go to another."""
    direct = env.database_at("postgres://u:p@db/homelab", "DATABASE_URL")
    pooled = env.database_at("postgres://u:p@pooler/homelab?prepare_threshold=1000000", "DATABASE_URL")
    assert not direct["DISABLE_SERVER_SIDE_CURSORS"]
    assert pooled["DISABLE_SERVER_SIDE_CURSORS"]
    assert (direct["OPTIONS"]["prepare_threshold"], pooled["OPTIONS"]["prepare_threshold"]) == (5, 1_000_000)
