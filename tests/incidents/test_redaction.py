"""What looks like a secret is replaced, and what only looks a little like one stays."""

from __future__ import annotations

import pytest

from incidents.redaction import HIDDEN, clean, clean_tree

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
