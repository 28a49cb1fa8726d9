"""Log lines: one JSON object each (for Loki), or plain text on a terminal. Each says what it is about.

They are redacted as they are formatted, so that what an exception says is redacted, too.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from opentelemetry import trace

from incidents.clients import address
from incidents.context import Origin, current
from incidents.redaction import HIDDEN, clean, clean_tree
from incidents.tracing import parse

SERVERS = ("gunicorn", "celery")
CONTEXT = ("request_id", "incident_id", "agent", "step", "trace_id", "span_id")
# What a record has that is not `extra` of the call; and the objects that Django's own lines bring.
OURS = {
    *vars(logging.makeLogRecord({})),
    *CONTEXT,
    "message",
    "asctime",
    "taskName",
    "request",
    "server_time",
}
REFUSED = range(400, 500)
ORIGIN = "homelab.origin"  # the key of a request's environment where the middleware leaves it
# A link in a message is its own credential, and Django says the path of what it refuses.
_LINK = re.compile(r"/q/[\w.-]+", re.ASCII)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class ContextFilter(logging.Filter):
    """Puts request, incident, agent, step and trace on every record; None where there is none.

    Of a request that was refused it says who sent it.

    `extra` of the call comes first, then the request that a line of Django is about (it is over by then).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        over: Origin = getattr(request, "META", {}).get(ORIGIN, Origin())
        span = trace.get_current_span().get_span_context()
        if not span.is_valid and over.traceparent:
            span = parse(over.traceparent) or span
        about = current.get()
        found = {
            **about._asdict(),
            "request_id": about.request_id or over.request_id,
            "trace_id": f"{span.trace_id:032x}" if span.is_valid else None,
            "span_id": f"{span.span_id:016x}" if span.is_valid else None,
        }
        for name, value in found.items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        if request is not None and getattr(record, "status_code", None) in REFUSED:
            record.client = address(request)
        return True


class Seldom(logging.Filter):
    """A line a minute: of what is tried again and again, and fails as often."""

    SECONDS = 60.0
    _said_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created - self._said_at < self.SECONDS:
            return False
        self._said_at = record.created
        return True


class RedactedText(logging.Formatter):
    """For people. What is not ours to print on a terminal (colours, a faked line) is written out.

    What follows a line, a traceback, is set in: an exception's text may look like a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record)).translate(_CONTROLS).replace("\n", "\n  ")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = clean(_LINK.sub(f"/q/{HIDDEN}", record.message)).replace("\n", "\\n")
        said = {"#": "incident_id", "": "agent", "request ": "request_id", "from ": "client"}
        about = [f"{sign}{value}" for sign, name in said.items() if (value := getattr(record, name, None))]
        record.about = f"[{' '.join(about)}] " if about else ""
        return super().formatMessage(record)


class RedactedJson(logging.Formatter):
    """One object a line. Its members are redacted, not the line: a pattern may end where JSON does not."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": clean_tree(_LINK.sub(f"/q/{HIDDEN}", record.getMessage())),
            **{name: getattr(record, name, None) for name in CONTEXT},
        }
        more = {name: value for name, value in vars(record).items() if name not in OURS}
        if record.exc_info:
            more["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            more["stack_info"] = record.stack_info
        return json.dumps(
            line | clean_tree(more), ensure_ascii=False, default=lambda value: clean(str(value))
        )


def stream() -> TextIO:
    """A server's lines go to standard output; a command has its answer there, and they to standard error."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return sys.stdout if name in SERVERS else sys.stderr


def config(*, level: str, style: str, embedded: bool = False) -> dict[str, Any]:
    """Django's LOGGING dictionary; `style` is `json` or `text`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": ContextFilter}, "seldom": {"()": Seldom}},
        "formatters": {
            "json": {"()": RedactedJson},
            "text": {
                "()": RedactedText,
                "format": "%(asctime)s %(levelname)-7s %(name)s %(about)s%(message)s",
            },
        },
        "handlers": {
            "lines": {
                "class": "logging.StreamHandler",
                "formatter": style,
                "filters": ["context"],
                "stream": stream(),
            },
        },
        "root": {"handlers": ["lines"], "level": level},
        "loggers": {
            "django": {"level": "INFO" if level == "DEBUG" else level},
            # what a command did, it says itself
            "incidents.services": {"level": level if stream() is sys.stdout else "WARNING"},
            "django.server": {"handlers": ["lines"], "propagate": False},
            # celery announces every task twice at INFO; the rows already say what was done
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            # to which broker it connected; within one process there is none
            "celery.worker.consumer.connection": {"level": "WARNING" if embedded else level},
            # httpx2 and urllib3 log whole URLs at INFO and DEBUG, and a chat's token may be in one
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # at ERROR it prints a URL that it cannot read, with its password
            "apprise": {"level": "CRITICAL"},
            # a collector that is away
            "opentelemetry.exporter.otlp.proto.http.trace_exporter": {"filters": ["seldom"]},
        },
    }
