"""Outcomes and people's words at the same moment, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agents import ledger, services
from agents.models import Action, ActionKind, Autonomy
from incidents.models import Event, Notification
from tests.agents.rows import an_action
from tests.e2e.on_postgres import at_once, on_postgres, server
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
ALERT = "ContainerDown"
PAIR: dict[str, Any] = {"kind": ActionKind.RESTART_CONTAINER, "target_kind": "docker", "alert_name": ALERT}


def an_end(name: str, *, helped: bool) -> Callable[[], None]:
    """The end of an incident whose change was done: what its worker commits."""
    target = a_target(name)
    incident = an_incident(status="proving", target=target, alert_name=ALERT)
    mine = {an_episode(incident).pk}
    done = {"status": Action.Status.DONE, "executing_at": timezone.now(), "by_person": True}
    an_action(incident, target, alert_name=ALERT, expires_at=None, **done)

    def end() -> None:
        with transaction.atomic():
            seen = {"firing": (), "cleared": mine} if helped else {"firing": mine, "cleared": ()}
            services.settle_outcomes(incident, **seen)

    return end


def test_of_outcomes_at_the_same_moment_one_makes_the_offer(settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER, settings.REMEDIATION_MODE = 4, "approve"
    at_once([an_end(f"web{number}", helped=True) for number in range(6)])
    assert Action.objects.filter(helped=True).count() == 6
    assert Autonomy.objects.count() == 1
    assert Event.objects.filter(kind=Event.Kind.AUTONOMY).count() == 1
    assert ledger.record_of(ledger.offered()[0]).approved == 6


def test_a_failure_among_successes_lowers_and_leaves_no_offer_of_what_was_before(settings: Any) -> None:
    settings.AUTONOMY_OFFER_AFTER, settings.REMEDIATION_MODE = 3, "approve"
    ends = [an_end(f"web{number}", helped=number != 2) for number in range(6)]
    at_once(ends)
    pair: Any = ledger.with_record().get(**PAIR)
    assert (pair.is_lowered, pair.verified, ledger.offer_of(pair)) == (True, 0, None)


def test_of_failures_at_the_same_moment_people_are_told_of_the_one_that_took_it(settings: Any) -> None:
    settings.REMEDIATION_MODE = "approve"
    ledger.decide(Autonomy.objects.create(**PAIR), "raise", by="alice")
    at_once([an_end(f"web{number}", helped=False) for number in range(4)])
    assert Notification.objects.filter(title__startswith="asks again").count() == 1
    assert ledger.with_record().get(**PAIR).is_lowered


def test_a_persons_word_and_a_failure_at_the_same_moment_come_one_after_the_other(settings: Any) -> None:
    settings.REMEDIATION_MODE = "approve"
    row = Autonomy.objects.create(**PAIR)
    for number in range(5):
        both: list[Callable[[], object]] = [partial(ledger.decide, row, "raise", by="alice")]
        at_once([*both, an_end(f"web{number}", helped=False)])
        row.refresh_from_db()
        last = Event.objects.filter(kind=Event.Kind.AUTONOMY).latest("id")
        assert row.is_alone == ("asks no more" in last.text)
        ledger.decide(row, "lower", by="alice")
