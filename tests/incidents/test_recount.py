"""Totals that missed something are put right once, beside whatever is counted meanwhile."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from incidents import tally, turns
from incidents.models import Incident, Verdict
from incidents.recount import TURN
from incidents.totals import totals
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def close_uncounted(incident: Incident, seconds: float) -> None:
    """As a process does that knows no totals."""
    fields = {"status": Incident.Status.CLOSED, "verdict": Verdict.VERIFIED, "closed_at": Now()}
    Incident.objects.filter(pk=incident.pk).update(**fields, resolution_seconds=seconds)


def said(*arguments: str) -> str:
    output = StringIO()
    call_command("recount", *arguments, stdout=output)
    return output.getvalue()


def test_what_was_closed_uncounted_is_counted_and_only_once() -> None:
    for verdict in (None, None, Verdict.UNKNOWN):
        an_incident(verdict)
    an_incident(Verdict.VERIFIED, seconds=30.25)
    close_uncounted(Incident.objects.unresolved().earliest("pk"), seconds=61.000007)
    before = tally.read()
    assert said() == (
        "incidents critical in_progress alertmanager: counted 2, there are 1\n"
        "incidents critical verified alertmanager: counted 1, there are 2\n"
        "proved count: counted 1, there are 2\n"
        "proved sum: counted 30250000, there are 91250007\n"
        "Corrected.\n"
    )
    assert totals().by_verdict["verified"] == 2
    assert totals().by_verdict["in_progress"] == 1
    assert totals().avg_resolution_seconds == 91.250007 / 2
    assert said() == "The totals are what the tables say.\n"
    grown = {name for (name, *_), more in (tally.read() - before).items() if more}
    assert grown == {"incidents", "proved"}, "what only grows is left"


def test_a_check_corrects_nothing() -> None:
    close_uncounted(an_incident(), seconds=5)
    before = tally.read()
    with pytest.raises(CommandError, match="not what the tables say"):
        said("--check")
    assert tally.read() == before


def test_two_at_once_would_both_add_what_is_missing() -> None:
    close_uncounted(an_incident(), seconds=5)
    turns.take(TURN, seconds=60)
    with pytest.raises(CommandError, match="another recount"):
        said()
    turns.give_back(TURN)
    said()
    assert said("--check") == "The totals are what the tables say.\n"
