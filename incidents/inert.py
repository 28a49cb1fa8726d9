"""Strangers' text for a chat: it calls nobody, hides no link, and is drawn as it was written.

Apprise escapes what a channel's format asks for. It leaves alone what some chats read in plain text, too:
mentions, markdown, and characters that turn or hide others. The row keeps the text as it was.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import parse_qs, urlsplit

FULLWIDTH_AT = "\uff20"  # looks like it, calls nobody
# `name@host` is left alone, but some chats read @everyone anywhere
_MENTION = re.compile(r"(?<!\w)@(?=\S)|@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
# between the parts of [text](address), [text][name] and [name]: address, and after the < of <address|text>
_HIDDEN_LINK = re.compile(rf"(?<=\])(?=[(\[:])|(?<=<)(?=[!#@{FULLWIDTH_AT}]|[A-Za-z][\w+.-]*:)")
_ADDRESS = re.compile(r"https?://[\w.:/?&=%+,;#-]+", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*_~|>#\[\]()]")
_NO_WORDS = re.compile(r"[^\w\s.,:;/?=%+@'\"·…-]")
# Chats that read plain text as markdown, by Apprise's name of their address.
MARKDOWN_CHATS = {"discord", "guilded", "mmost", "mmosts", "revolt", "rocket", "rockets", "ryver", "zulip"}


def inert(text: str) -> str:
    """Without mentions, without links that show another address than they lead to, and without characters
    that nobody sees. Line ends stay.
    """
    seen = "".join(filter(_is_seen, re.sub(r"\r\n?|[\u2028\u2029\x85]", "\n", text)))
    return _HIDDEN_LINK.sub(" ", _MENTION.sub(FULLWIDTH_AT, seen))


def as_markdown(text: str) -> str:
    """For a chat that takes all for markdown: so that it draws the text itself. Addresses stay whole."""
    parts, end = [], 0
    for address in _ADDRESS.finditer(text):
        parts += [_escaped(text[end : address.start()]), address[0]]
        end = address.end()
    return "".join([*parts, _escaped(text[end:])])


def reads_markdown(url: str) -> bool:
    """Whether what is sent to this Apprise URL is drawn as markdown without being escaped by Apprise first,
    which it is where the URL names a format.
    """
    parts = urlsplit(url)
    return parts.scheme.lower() in MARKDOWN_CHATS and "format" not in parse_qs(parts.query)


def words_only(text: str) -> str:
    """The last resort for a channel that refuses the rest: nothing that could be markup anywhere."""
    return _NO_WORDS.sub(" ", text).replace("_", " ")


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _is_seen(character: str) -> bool:
    """Controls, and what turns the direction or has no width (Unicode's format characters), are not."""
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
