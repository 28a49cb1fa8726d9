"""Log lines: one JSON object each (for Loki), or plain text on a terminal. Both carry the incident's id.

They are redacted as they are formatted, so that what an exception says is redacted, too.
"""

from __future__ import annotations

import logging
from typing import Any

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from incidents.context import current_incident
from incidents.redaction import clean_tree, redact


class IncidentFilter(logging.Filter):
    """Puts the id of the incident being worked on (or None) on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.incident_id = current_incident.get()
        return True


class RedactedText(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class RedactedJson(JsonFormatter):
    """Redacts the members, not the line: a pattern may end where the line's JSON does not."""

    def process_log_record(self, log_data: LogData) -> LogData:
        cleaned: LogData = clean_tree(super().process_log_record(log_data))
        return cleaned


def config(*, level: str, style: str) -> dict[str, Any]:
    """Django's LOGGING dictionary; `style` is `json` or `text`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"incident": {"()": IncidentFilter}},
        "formatters": {
            "json": {
                "()": RedactedJson,
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s %(incident_id)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                "datefmt": "%Y-%m-%dT%H:%M:%S%z",
            },
            "text": {
                "()": RedactedText,
                "format": "%(asctime)s %(levelname)-7s %(name)s [%(incident_id)s] %(message)s",
            },
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": style, "filters": ["incident"]},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"level": "INFO" if level == "DEBUG" else level},
            "django.server": {"handlers": ["stderr"], "propagate": False},
            # celery announces every task twice at INFO; the rows already say what was done
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            # httpx2 and urllib3 log whole URLs at INFO and DEBUG, and a chat's token may be in one
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # at ERROR it prints a URL that it cannot read, with its password
            "apprise": {"level": "CRITICAL"},
        },
    }
