"""Sweeps come from beat; before a long backlog also from whoever has done a task."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from homelab import celery


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(celery, "_swept", {})
    for name in celery.SWEEPS:
        monkeypatch.setitem(celery.app.tasks, name, lambda name=name: found.append(name))
    return found


def done(name: str) -> None:
    celery.sweep_if_overdue(SimpleNamespace(name=name))  # type: ignore[arg-type]


def test_who_has_done_a_task_sweeps_when_nobody_did(swept: list[str]) -> None:
    done("agents.tasks.advance")
    assert swept == list(celery.SWEEPS)
    done("agents.tasks.advance")
    assert swept == list(celery.SWEEPS)


def test_nobody_does_while_beat_is_heard(swept: list[str]) -> None:
    for name in celery.SWEEPS:
        done(name)
    done("agents.tasks.advance")
    assert not swept


def test_when_beat_falls_silent_somebody_does_again(
    swept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in celery.SWEEPS:
        done(name)
    later = time.monotonic() + celery.SWEEP_OVERDUE + 0.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    done("agents.tasks.advance")
    assert swept == list(celery.SWEEPS)
