"""Thousands of refused requests are what is wanted here, and no news for the log."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("django.request", "django.security.DisallowedHost"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
