"""Contested episodes: fired again at or before their own end. Somebody who knows is asked.

Alertmanager repeats a firing with its old start after a gap, and deliveries arrive out of order. Only the
expression or Alertmanager's list of active alerts tells the two apart; when nobody can be asked for a
minute, the alert is believed.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from agents import proof
from agents.reading import ExpressionState
from agents.tools import alertmanager
from agents.tools.base import ToolError
from incidents import intake
from incidents.models import Episode

PATIENCE = timedelta(seconds=60)


def settle_all() -> None:
    for pk in Episode.objects.contested().values_list("pk", flat=True)[:100]:
        settle(pk)


def settle(episode_id: int) -> None:
    """Ask whether a contested episode is active, and reopen or leave it."""
    episode = Episode.objects.contested().select_related("incident").filter(pk=episode_id).first()
    if episode is None or episode.contested_at is None:
        return
    active, how = _ask(episode)
    if active is None:
        if timezone.now() - episode.contested_at < PATIENCE:
            return
        active, how = True, f"nobody could be asked for {PATIENCE.seconds} s: {how}"
    intake.settle_contested(episode, active=active, how=how)


def _ask(episode: Episode) -> tuple[bool | None, str]:
    """True when the expression or Alertmanager says active, False when one can say and none says so."""
    look = proof.observe_episode(episode)
    if look.state is ExpressionState.FIRING:
        return True, f"its expression is true: {look.reason}"
    try:
        listed = _listed(episode) if settings.ALERTMANAGER_URL else None
    except ToolError as error:
        listed, look = None, proof.Look(look.state, f"{look.reason}; {error}")
    if listed:
        return True, "Alertmanager lists it as active"
    if look.state is ExpressionState.CLEARED:
        return False, f"its expression is not true: {look.reason}"
    if listed is False:
        return False, "Alertmanager does not list it"
    return None, look.reason


def _listed(episode: Episode) -> bool:
    return any(alert.fingerprint == episode.fingerprint for alert in alertmanager.active_alerts())
