"""A database backend (Django looks for it in `base.py`), and the one thing that it knows from its process."""

from __future__ import annotations

from django.conf import settings

# So many seconds a statement waits for its answer. None, for ever: a migration may take its time.
answer_seconds: float | None = None


def expect_answers() -> None:
    """For a process that serves, from now on: as long as the kernel waits for a peer that is gone."""
    global answer_seconds  # noqa: PLW0603 a process serves, or it does not
    limit = settings.DATABASES["default"].get("OPTIONS", {}).get("tcp_user_timeout")
    answer_seconds = int(limit) / 1000 if limit else None
