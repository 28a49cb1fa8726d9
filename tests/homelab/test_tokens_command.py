"""`manage.py tokens`: made, shown once, listed without secrets, revoked for good."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from incidents.access import hash_token
from incidents.models import Event, Role, Token

pytestmark = pytest.mark.django_db


def tokens(*arguments: str) -> str:
    out = io.StringIO()
    call_command("tokens", *arguments, stdout=out)
    return out.getvalue()


def test_a_new_token_is_shown_once_and_kept_as_a_hash() -> None:
    secret = tokens("create", "nas", "--role", "ingest", "--source", "am-nas").strip()
    token = Token.objects.get(name="nas")
    assert (token.role, token.source, token.digest) == ("ingest", "am-nas", hash_token(secret))
    assert secret not in tokens("list")


def test_a_revoked_token_no_longer_matches() -> None:
    secret = tokens("create", "nas", "--role", "viewer").strip()
    tokens("revoke", "nas")
    assert not Token.objects.get(name="nas").matches(hash_token(secret))
    with pytest.raises(CommandError, match="no live token"):
        tokens("revoke", "nas")


@pytest.mark.parametrize("name", ["", "  ", "\t", "n" * 101])
def test_a_name_says_something_and_not_too_much(name: str) -> None:
    with pytest.raises(CommandError, match="name wants 1 to 100 characters"):
        tokens("create", name, "--role", "viewer")
    with pytest.raises(CommandError, match="source wants 1 to 100 characters"):
        tokens("create", "nas", "--role", "ingest", "--source", name)
    assert not Token.objects.exists()


def test_a_source_is_listed_of_those_that_may_send_alerts() -> None:
    for role in Role.values:
        tokens("create", f"my-{role}", "--role", role, "--source", "am-nas")
    listed = {line.split()[1] for line in tokens("list").splitlines() if "am-nas" in line}
    assert listed == {"ingest", "admin"}


def test_it_is_said_that_a_token_is_shown_once_beside_the_answer() -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("tokens", "create", "nas", "--role", "viewer", stdout=out, stderr=err)
    assert len(out.getvalue().split()) == 1  # so that $(...) has the token alone
    assert "shown only now" in err.getvalue()


def test_a_name_is_taken_for_good() -> None:
    tokens("create", "nas", "--role", "viewer")
    tokens("revoke", "nas")
    with pytest.raises(CommandError, match="called nas already"):
        tokens("create", "nas", "--role", "admin")


def test_a_role_that_is_none() -> None:
    with pytest.raises(CommandError, match="--role"):
        tokens("create", "nas", "--role", "king")


def test_what_was_done_is_in_the_audit_without_the_secret() -> None:
    secret = tokens("create", "nas", "--role", "viewer").strip()
    tokens("revoke", "nas")
    texts = list(Event.objects.filter(kind=Event.Kind.TOKEN).values_list("text", flat=True))
    assert texts == ["made nas (viewer)", "revoked nas"]
    assert not any(secret in text for text in texts)
