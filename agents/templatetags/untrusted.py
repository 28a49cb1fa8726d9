"""Text that strangers wrote, on a page: escaped, and linked only where a link does no harm."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from incidents.wording import duration

register = template.Library()
WEB = ("http", "https")
LONGEST = 4000


@register.filter
def web_link(address: Any) -> SafeString | str:
    """A link for http and https, which tells the other side nothing of us; anything else as plain text, cut
    to what a page can bear.
    """
    text = str(address or "")
    if len(text) > LONGEST:
        return f"{text[:LONGEST]}…"
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    # what nobody sees could make the address look like another
    if parts.scheme.lower() not in WEB or not parts.netloc or not text.isprintable():
        return text
    return format_html('<a href="{}" rel="noopener nofollow noreferrer">{}</a>', text, text)


@register.filter
def pretty(value: Any) -> str:
    """JSON to read; text as it is. Autoescaped by the template."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def percent(rate: float) -> int:
    """0.996 as 99, from 0 to 1: all of it is said of nothing less."""
    return math.floor(round(rate * 100, 9))  # 0.29 * 100 is 28.999…


@register.filter
def took(seconds: float | None) -> str:
    """`137s` as `2m`; a dash while it is not known."""
    return "-" if seconds is None else duration(timedelta(seconds=seconds))
