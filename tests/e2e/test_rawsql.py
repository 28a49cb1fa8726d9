"""What every delivery asks, of a real PostgreSQL: any number of alerts is one question."""

from __future__ import annotations

import pytest

from incidents.batch import LATEST
from incidents.models import Episode
from incidents.rawsql import fetch
from tests.incidents.rows import an_episode, an_incident

from .on_postgres import on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]


def test_more_alerts_than_a_statement_takes_parameters() -> None:
    episode = an_episode(an_incident())
    fingerprints = [f"{number:040x}" for number in range(70_000)]
    found = fetch(Episode, LATEST, episode.source, [*fingerprints, episode.fingerprint], lock=True)
    assert found == [episode]
