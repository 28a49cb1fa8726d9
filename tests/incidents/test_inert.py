"""What a stranger wrote into an alert, as each chat is sent it: read as text, whatever it tries."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import apprise
import pytest
import requests

from incidents import notifications
from incidents.inert import as_markdown, inert, words_only
from incidents.models import Notification
from tests.incidents.rows import an_incident

EVIL = (
    "<script>alert(1)</script> @everyone @here x@everyone <!channel> <@U123> @**all** <@&7> "
    "[x](javascript:alert(1)) "
    "![y](https://evil.example/pixel) <https://evil.example|the bank> [z][1]\n[1]: https://evil.example\n"
    "*bold* _it_ `code` ~~s~~ \u202egnp.exe\u202c \u200bzero\ufeff \x00\x1b[31m a & b"
)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("jellyfin@docker2 is down", "jellyfin@docker2 is down"),
        ("mail robin@example.org", "mail robin@example.org"),
        ("@everyone look", "\uff20everyone look"),
        ("x@everyone", "x\uff20everyone"),
        ("<!channel> <@U1> <#C1>", "< !channel> < \uff20U1> < #C1>"),
        ("[x](javascript:alert(1))", "[x] (javascript:alert(1))"),
        ("![x](https://evil.example)", "![x] (https://evil.example)"),
        ("[x][1] [1]: https://evil.example", "[x] [1] [1] : https://evil.example"),
        ("<https://evil.example|the bank>", "< https://evil.example|the bank>"),
        ("usage <5% and <nil>", "usage <5% and <nil>"),
        ("\u202egnp.exe\u202c a\u200bb\ufeff \U000e0041", "gnp.exe ab "),
        ("a\r\nb\rc\u2028d\te\x00\x1b[31m", "a\nb\nc\nd\te[31m"),
        ("\ud800 half of a pair", " half of a pair"),
        ("4m · restart? until 03:27, 97 % (of 8 GB)", "4m · restart? until 03:27, 97 % (of 8 GB)"),
    ],
)
def test_what_calls_or_hides_is_broken_and_the_rest_stays(text: str, sent: str) -> None:
    assert inert(text) == sent


def test_markdown_is_escaped_and_addresses_stay_whole() -> None:
    text = "*a* `b` see https://homelab.example.org/incidents/7?a=b_c#d and (https://h/x_y)"
    assert as_markdown(text) == (
        r"\*a\* \`b\` see https://homelab.example.org/incidents/7?a=b_c#d and \(https://h/x_y\)"
    )


def test_words_only_has_nothing_that_could_be_markup() -> None:
    left = words_only(inert(EVIL))
    assert not set(left) & set("<>&*_`~[](){}|\\#!")
    assert "the bank" in left


# The chats that read text in a way of their own, each with the characters that would do harm there.
CHATS = {
    "discord://1234567890/abcdefghijklmnop": "https://discord.com",
    "discord://1234567890/abcdefghijklmnop?format=markdown": "https://discord.com",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/general": "https://hooks.slack.com",
    "tgram://123456789:abcdefg_hijklmnop/12315544/": "https://api.telegram.org",
    "tgram://123456789:abcdefg_hijklmnop/12315544/?format=markdown&mdv=2": "https://api.telegram.org",
    "mmosts://hooks.example/abcdefghijklmnopqrstuvwxyz": "",
    "ntfys://ntfy.example/topic": "",
    "gotifys://gotify.example/abcdefghijklmno": "",
    "matrixs://token@matrix.example/?mode=slack": "",
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What goes out, sent to a real server in place of the chat's own."""
    bodies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer = b"ok" if "slack" in self.path or "services" in self.path else b'{"ok": true}'
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}"

    def elsewhere(real: Any) -> Any:
        def request(self: Any, method: str, url: str, **options: Any) -> Any:
            parts = urlsplit(url)
            return real(self, method, f"{here}{parts.path}", **options)

        return request

    monkeypatch.setattr(requests.Session, "request", elsewhere(requests.Session.request))
    yield bodies
    server.shutdown()
    server.server_close()


def words_of(value: Any) -> Iterator[tuple[str, str]]:
    """Each text of a JSON document with its key."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from ((key, each),) if isinstance(each, str) else words_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from words_of(each)


@pytest.mark.django_db
@pytest.mark.parametrize("url", CHATS)
def test_a_hostile_alert_is_text_in_every_chat(sent: list[str], settings: Any, url: str) -> None:
    settings.NOTIFY_URLS = [url]
    notifications.tell(
        an_incident(), Notification.Kind.UPDATE, title=f"CRIT {EVIL}"[:90], body=EVIL, transition="t"
    )
    row = Notification.objects.get()
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert row.sent_at is not None, row.error
    assert "@everyone" in row.body, "the record is what was written"
    message = json.loads(sent[0])
    assert not message.get("allow_mentions"), "nobody is called"
    for key, text in words_of(message):
        for call in ("@everyone", "@here", "<!channel", "<@U123", "@**all**"):
            assert call not in text, (key, text)
        for hidden in ("](javascript", "](https", "<https://evil.example|", "\u202e", "\u200b", "\x1b"):
            assert hidden not in text, (key, text)
    if urlsplit(url).scheme == "tgram" and "markdown" not in url:
        assert "<script" not in message["text"]
        assert message["parse_mode"] == "HTML"
    if urlsplit(url).scheme in ("discord", "mmosts") and "format" not in url:
        text = message.get("content") or message["text"]
        assert r"\*bold\* \_it\_ \`code\` \~\~s\~\~" in text


@pytest.mark.parametrize("url", CHATS)
def test_these_are_chats_that_apprise_knows(url: str) -> None:
    assert apprise.Apprise().add(url)


@pytest.mark.django_db
def test_a_channel_that_refuses_markup_gets_words(sent: list[str], settings: Any) -> None:
    settings.NOTIFY_URLS = ["tgram://123456789:abcdefg_hijklmnop/12315544/?format=markdown&mdv=2"]
    notifications.tell(an_incident(), Notification.Kind.UPDATE, title="t", body=EVIL, transition="t")
    Notification.objects.update(attempts=notifications.REFUSALS)
    notifications.deliver(Notification.objects.get().pk)
    text = json.loads(sent[0])["text"]
    body = text.split("\n", 1)[1].replace("\\", "")
    assert not set(body) & set("<>&*_`~[](){}|#!")


@pytest.mark.django_db
def test_a_title_is_one_line(sent: list[str], settings: Any) -> None:
    settings.NOTIFY_URLS = ["ntfys://ntfy.example/topic"]
    notifications.tell(
        an_incident(), Notification.Kind.UPDATE, title="a\nX-Evil: b\r\n\r\nc", body="b", transition="t"
    )
    notifications.deliver(Notification.objects.get().pk)
    assert json.loads(sent[0])["title"] == "a X-Evil: b c"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url", ["discord://1234567890/abcdefghijklmnop", "tgram://123456789:abcdefg_hijklmnop/1/"]
)
def test_a_huge_text_is_cut(sent: list[str], settings: Any, url: str) -> None:
    settings.NOTIFY_URLS = [url]
    notifications.tell(an_incident(), Notification.Kind.UPDATE, title="t", body=EVIL * 300, transition="t")
    notifications.deliver(Notification.objects.get().pk)
    assert len(sent) == 1
    assert len(sent[0]) < 20_000
