"""What looks like a secret is replaced, and what only looks a little like one stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.conf import settings

from incidents.environment import shown
from incidents.own_secrets import own_secrets
from incidents.redaction import DEEPEST, HIDDEN, TOO_DEEP, clean, clean_tree, hide_everywhere, too_deep
from incidents.secret_rules import RULES
from tests import canaries

SECRETS = [
    "password=hunter2",
    "DB_PASS=hunter2",
    'api_key: "hunter2 with spaces"',
    "POSTGRES_PASSWORD=hunter2",
    "Authorization: Bearer abcdefghijklmnop",
    "postgres://user:hunter2@db:5432/x",
    "redis://:hunter2@cache",
    "https://user:p@ss@host/path",
    "sk-abcdefghijklmnopqrstuv",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0",
    "123456789:AAF-abcdefghijklmnopqrstuvwxyz01234",
    "mysql --password hunter2 -h db",
    "restic --api-key='hunter2 x' backup",
    "curl -s -u robin:hunter2 https://x",
    "Cookie: session=hunter2; other=1",
    "https://discord.com/api/webhooks/123456/hunter2-abc",
    "https://hooks.slack.com/services/T0/B0/hunter2",
    "https://api.telegram.org/bot123456789:AAF-abcdefghijklmnopqrstuvwxyz01234/send",
    "basicauth.users=robin:$apr1$hunter2$abcdef",
    "password: |\n  hunter2",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
]
HARMLESS = [
    "exit_code: 137",
    "cached_tokens: 512",
    "author: robin",
    "http://127.0.0.1:9090/graph?g0.expr=up",
    'up{job="web"} == 0',
    "docker:docker2/jellyfin",
    "passed: 3",
    "key: value",
    "password authentication failed for user robin",
    "curl -s https://x",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_hidden(text: str) -> None:
    cleaned = clean(f"before {text} after")
    assert "[redacted]" in cleaned
    for part in ("hunter2", "p@ss", "abcdefghijklmnop", "AKIAIO", "eyJzdWI", "MIIE"):
        assert part not in cleaned


@pytest.mark.parametrize("text", HARMLESS)
def test_the_rest_stays(text: str) -> None:
    assert clean(text) == text


def test_a_tree_is_cleaned_leaf_by_leaf_and_stays_json() -> None:
    tree = {"password": "hunter2", "list": ["token=hunter2", 5, None], "cached_tokens": 512, "nul": "a\x00b"}
    assert clean_tree(tree) == {
        "password": "[redacted]",
        "list": ["token=[redacted]", 5, None],
        "cached_tokens": 512,
        "nul": "a\N{REPLACEMENT CHARACTER}b",
    }


@pytest.mark.parametrize("text", ["sk-" + "a" * 16, "AKIAIOSFODNN7EXAMPLE", "x=1,token=a", "pass:abc"])
def test_the_shortest_secrets_are_hidden_when_they_stand_alone(text: str) -> None:
    """Short words are not searched at all, so what is searched must begin below the shortest secret."""
    assert HIDDEN in clean(text)


@pytest.mark.parametrize("kind", canaries.SECRETS)
def test_every_kind_of_secret_of_a_homelab_is_hidden(kind: str) -> None:
    text, secret = canaries.SECRETS[kind]
    assert secret in text
    cleaned = clean(text if "\n" in text else f"before {text} after")
    assert secret not in cleaned
    assert HIDDEN in cleaned
    assert clean(cleaned) == cleaned  # what is stored is what is sent


@pytest.mark.parametrize("text", canaries.HARMLESS)
def test_ordinary_lines_come_through_untouched(text: str) -> None:
    assert clean(text) == text


def test_what_is_around_a_secret_stays() -> None:
    line = "GET /message?token=AbCdEf123456&page=2 HTTP/1.1 500 by robin"
    assert clean(line) == "GET /message?token=[redacted]&page=2 HTTP/1.1 500 by robin"
    log = '{"user":"robin","password":"hunter2","status":500}'
    assert clean(log) == '{"user":"robin","password":[redacted],"status":500}'


INSPECTION = {
    "Config": {
        "Env": ["PATH=/bin", "PGHOST=db", "FOO=hunter2", "TZ=Europe/Berlin", "PG_VERSION=17.2", "EMPTY="],
        "Cmd": ["mysqld", "--user=app", "--password", "hunter2", "--port=3306"],
        "Entrypoint": ["/usr/bin/mysql", "-phunter2", "shop"],
        "Healthcheck": {"Test": ["CMD-SHELL", "mysqladmin ping -u root -phunter2 || exit 1"]},
        "Labels": {
            "traefik.http.middlewares.x.basicauth.users": "robin:$2y$05$hunter2hunter2",
            "backup.password": "hunter2",
            "com.docker.compose.project": "media",
        },
    },
    "Args": ["-c", "exec app --api-key=hunter2 --verbose"],
    "Path": "/bin/sh",
}


def test_an_inspection_keeps_names_and_loses_values() -> None:
    cleaned = clean_tree(INSPECTION)
    assert "hunter2" not in json.dumps(cleaned)
    config = cleaned["Config"]
    assert config["Env"] == [
        "PATH=/bin",
        "PGHOST=[redacted]",
        "FOO=[redacted]",
        "TZ=Europe/Berlin",
        "PG_VERSION=17.2",
        "EMPTY=",
    ]
    assert config["Cmd"] == ["mysqld", "--user=app", "--password", HIDDEN, "--port=3306"]
    assert config["Labels"]["com.docker.compose.project"] == "media"
    assert "hunter2" not in clean(json.dumps(INSPECTION))
    assert "hunter2" not in clean(json.dumps(INSPECTION, indent=2))


@pytest.mark.parametrize(
    ("section", "cleaned"),
    [
        ({"env": {"FOO": "hunter2", "TZ": "UTC"}}, {"env": {"FOO": HIDDEN, "TZ": "UTC"}}),
        ({"env": [{"name": "FOO", "value": "hunter2"}]}, {"env": [{"name": "FOO", "value": HIDDEN}]}),
        ({"environment": ["FOO", "BAR"]}, {"environment": ["FOO", "BAR"]}),
        ({"env": "production"}, {"env": "production"}),
        ({"environment": {"name": "production"}}, {"environment": {"name": "production"}}),
    ],
)
def test_an_environment_is_known_by_its_name(section: object, cleaned: object) -> None:
    assert clean_tree(section) == cleaned


def test_json_in_a_text_is_looked_into() -> None:
    arguments = json.dumps({"cause": json.dumps({"Env": ["FOO=hunter2"]}), "log": "A=1\nB=hunter2\nTZ=UTC"})
    cleaned = clean_tree({"arguments": arguments, "broken": "{" * 5000 + "}"})
    assert "hunter2" not in cleaned["arguments"]
    assert json.loads(json.loads(cleaned["arguments"])["cause"]) == {"Env": ["FOO=[redacted]"]}
    assert clean_tree('{"a":  1.50}') == '{"a":  1.50}'  # untouched where there is nothing to hide


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}"), ('{"env":[', "]}")])
def test_what_is_nested_too_deeply_is_left_out(before: str, after: str) -> None:
    levels = (before + after).count("[") + (before + after).count("{")
    fits, deeper = (json.loads(before * n + '"x"' + after * n) for n in (DEEPEST // levels, 800 // levels))
    assert clean_tree(fits) == fits
    assert not too_deep(fits)
    assert too_deep(deeper)
    cleaned = clean_tree({"password": "hunter2", "deeper": deeper})
    assert cleaned["password"] == HIDDEN
    assert TOO_DEEP in json.dumps(cleaned)


def test_a_shown_variable_is_redacted_all_the_same() -> None:
    assert clean_tree({"Env": ["HOME=postgres://a:hunter2@db/x"]}) == {
        "Env": ["HOME=postgres://[redacted]@db/x"]
    }
    assert not any(map(shown, ("DB_PASS", "API_KEY", "SECRET", "TOKEN", "HOME_PASSWORD")))


# --- our own secrets ---------------------------------------------------------------------------


@pytest.fixture
def hidden() -> Iterator[None]:
    before = hide_everywhere({canaries.OWN_SECRET})
    yield
    hide_everywhere(before)


@pytest.mark.usefixtures("hidden")
def test_a_secret_of_ours_is_hidden_wherever_it_stands() -> None:
    assert clean(f"it is {canaries.OWN_SECRET}.") == "it is [redacted]."
    assert clean(canaries.OWN_SECRET) == HIDDEN
    assert clean_tree({"free": [canaries.OWN_SECRET]}) == {"free": [HIDDEN]}


def test_the_secrets_of_the_settings_are_hidden_from_the_start() -> None:
    assert clean(f"signed with {settings.SECRET_KEY}") == "signed with [redacted]"


SETTINGS = SimpleNamespace(
    SECRET_KEY='p4ss/w"rd with blanks',
    OPENAI_API_KEY="unprefixed-key",
    METRICS_TOKEN="short",
    QDRANT_API_KEY=None,
    OPENAI_MODEL="gpt-4o-mini",
    OPENAI_BASE_URL="https://model.example.org/v1/openai-compatible",
    PROMETHEUS_URL="http://reader:prom-password@prometheus:9090",
    HEARTBEAT_URL="https://beat.example.org/notify/0f0e0d0c-0b0a-0908-0706-050403020100",
    NOTIFY_URLS=[
        "gotify://gotify.example.org/Agot1fyT0ken",
        "mailtos://robin:mail-password@mail.example.org",
        "pover://userkeyuserkeyuserkey@tokentokentokentoken",
        "json://notifications/api/messages",
    ],
    ESCALATION_URLS=["pover://otheruserotheruser@othertokenothertoken"],
    DATABASES={
        "default": {"USER": "homelab", "PASSWORD": "db-password", "NAME": "homelab", "HOST": "db"},
        "other": {"USER": "postgres", "PASSWORD": "postgres", "NAME": "postgres"},
    },
    DOCKER_HOSTS={"nas": "tcp://docker:dock-password@nas:2376"},
)


def test_what_is_a_secret_in_the_settings() -> None:
    found = own_secrets(SETTINGS)
    assert {
        'p4ss/w"rd with blanks',
        "p4ss%2Fw%22rd%20with%20blanks",
        "p4ss%2Fw%22rd+with+blanks",
        'p4ss/w\\"rd with blanks',
        "unprefixed-key",
        "prom-password",
        "0f0e0d0c-0b0a-0908-0706-050403020100",
        "Agot1fyT0ken",
        "mail-password",
        "tokentokentokentoken",
        "othertokenothertoken",
        "db-password",
        "dock-password",
    } <= found
    words = ("postgres", "homelab", "short", "gpt-4o-mini", "notifications", "messages", "mail.example.org")
    assert not found & {*words, "openai-compatible", "gotify.example.org", "prometheus", "docker"}


# --- strangers write these texts -----------------------------------------------------------------

HOSTILE = """
import sys
from incidents.redaction import redact
from tests.incidents.test_redaction import BEGINNINGS
for beginning in BEGINNINGS:
    print(repr(beginning), flush=True)
    redact((beginning * 300_000)[:300_000])
print("done")
"""
BEGINNINGS = (
    *(
        "sk-",
        "sk_",
        "hl_",
        "ghp_",
        "glpat-",
        "glagent-",
        "xoxb-",
        "xoxb-1-",
        "eyJ",
        "-eyJ",
        "eyJabcdefghijkl.",
    ),
    *("AKIA", "aws", "aws key ", "awskey'", "AccountKey=", "SG.a", "N", "Naaa.", "pypi-AgEIcHlwaS5vcmc"),
    *(
        "tskey-",
        "hvs.",
        "hf_",
        "npm_",
        "AIza",
        "12345678:A",
        "@a!b=",
        "a:$2y$",
        "://",
        "http://a:",
        "a://a:a@",
    ),
    *(
        "tgram://",
        "/ping/",
        "?sig=",
        "?key=",
        "authorization: ",
        "authorization: digest ",
        "bearer ",
        "Basic a",
    ),
    *("AUTH PLAIN ", "cookie:", 'cookie:"', "password:", "password: |\n", "password", "token ", 'token="'),
    *(
        'token=\\"',
        "token='",
        '"token":"\\"',
        "api_key",
        "-api",
        "--password ",
        "--a",
        "-",
        "curl ",
        "curl -u ",
    ),
    *("mysql ", "mysql -p", "sshpass -p", "redis-cli ", "docker login ", " -U a%", "identified by '"),
    *("identified with a ", "password '", '"Env":[', '"Env":["A=b",', '"A=b\\', "A=b\n", "A=b\nA=b\nc\n"),
    *(
        "environment:\n",
        "environment:\n  A: b\n",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        " ",
        "\n",
        '"',
    ),
    *("2026-01-01T00:00:00 ", "\\", "[redacted]", "_", "token\n ", "token:\n "),
)


def test_no_hostile_text_holds_up_a_worker() -> None:
    """A pattern that is quadratic would take minutes for the first of these alone."""
    command = [sys.executable, "-c", HOSTILE]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired as stuck:
        pytest.fail(f"still at {(stuck.stdout or b'').decode().splitlines()[-1:]} after 120 s")
    assert ran.stdout.endswith("done\n"), ran.stderr


def test_a_hint_is_in_every_text_that_its_rule_hides() -> None:
    """Texts without a hint are not searched: a rule must hide nothing in them."""
    texts = [text for text, _ in canaries.SECRETS.values()] + [*SECRETS, *canaries.LEAKS.values()]
    for rule in RULES:
        for text in texts:
            if rule.hints and not any(hint in text.lower() for hint in rule.hints):
                assert rule.pattern.sub(rule.replacement, text) == text, (rule, text)
