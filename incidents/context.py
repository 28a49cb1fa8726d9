"""What the running piece of work is about, for log lines."""

from contextvars import ContextVar

current_incident: ContextVar[int | None] = ContextVar("current_incident", default=None)
