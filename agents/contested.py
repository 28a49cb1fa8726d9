"""Contested episodes: fired again at or before their own end. Somebody who knows is asked.

Alertmanager repeats a firing with its old start after a gap, and deliveries arrive out of order. Only the
expression or Alertmanager's list of active alerts tells the two apart; when nobody can be asked for a
minute, the alert is believed.

Whoever is asked may not answer for a long time, and a storm contests hundreds of alerts. So a few workers
ask, never two about the same alert, and the others stay free for the rest of the work.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from agents import judgement, proof
from agents.reading import ExpressionState
from agents.tools import alertmanager
from agents.tools.base import ToolError
from incidents import broker, intake, turns
from incidents.models import Episode

PATIENCE = timedelta(seconds=60)
SETTLE = "agents.tasks.settle_contested"
# Longer than it takes to find out that Prometheus and Alertmanager do not answer.
ASK_AGAIN = timedelta(seconds=30)
# So many workers ask at the same time, in all processes together.
SLOTS = tuple(f"settle_contested_{number}" for number in range(2))
# A worker goes on with the next ones for so long; what it began may take as long again and more.
SHIFT_SECONDS = 5.0
SLOT_SECONDS = 90.0
# Who took so long and said nothing is not asked for a while: not once more for each of a hundred alerts.
SLOW_SECONDS = 3.0
SILENT = "settle_contested_silent"
SILENT_SECONDS = 30.0
# A proved verdict is newer than what Alertmanager lists, which hears of an end late (keep_firing_for).
LAG = timedelta(minutes=10)


def due() -> list[int]:
    """Contested episodes that nobody asks about, the longest waiting first."""
    rows = Episode.objects.to_ask(timezone.now() - ASK_AGAIN)
    return list(rows.order_by("contested_at", "pk").values_list("pk", flat=True)[:100])


def hint_due() -> None:
    """Tell as many workers as may ask at the same time; they go on with the others."""
    for pk in due()[: len(SLOTS)]:
        broker.send(SETTLE, pk)


def settle_in_turn(episode_id: int) -> None:
    """Settle an episode and the next ones, when not enough others do so already."""
    slot = next((name for name in SLOTS if turns.take(name, seconds=SLOT_SECONDS)), None)
    if slot is None:
        return  # the sweep comes back to it
    ends = time.monotonic() + SHIFT_SECONDS
    try:
        settle(episode_id)
        while time.monotonic() < ends and (waiting := due()):
            settle(waiting[0])
    finally:
        turns.give_back(slot)


def settle(episode_id: int) -> None:
    """Ask whether a contested episode is active, and reopen or leave it."""
    claimed = Episode.objects.to_ask(timezone.now() - ASK_AGAIN).filter(pk=episode_id)
    if not claimed.update(asked_at=timezone.now()):
        return
    episode = Episode.objects.contested().select_related("incident").filter(pk=episode_id).first()
    if episode is None or episode.contested_at is None:
        return
    active, how = _ask_unless_silent(episode)
    if active is None:
        if timezone.now() - episode.contested_at < PATIENCE:
            return
        active, how = True, f"nobody could be asked for {PATIENCE.seconds} s: {how}"
    intake.settle_contested(episode, active=active, how=how)


def _ask_unless_silent(episode: Episode) -> tuple[bool | None, str]:
    if turns.taken(SILENT):
        return None, "who could say did not answer a moment ago"
    began = time.monotonic()
    active, how = _ask(episode)
    if active is None and time.monotonic() - began > SLOW_SECONDS:
        turns.take(SILENT, seconds=SILENT_SECONDS)
    return active, how


def _ask(episode: Episode) -> tuple[bool | None, str]:
    """True when the expression or Alertmanager says active, False when one can say and none says so."""
    look = proof.observe_episode(episode)
    if look.state is ExpressionState.FIRING:
        return True, f"its expression is true: {look.reason}"
    if look.state is ExpressionState.CLEARED and _closed_lately(episode):
        return False, f"its expression is not true: {look.reason}"
    try:
        listed = _listed(episode) if settings.ALERTMANAGER_URL else None
    except ToolError as error:
        listed, look = None, judgement.Look(look.state, f"{look.reason}; {error}")
    if listed:
        return True, "Alertmanager lists it as active"
    if look.state is ExpressionState.CLEARED:
        return False, f"its expression is not true: {look.reason}"
    if listed is False:
        return False, "Alertmanager does not list it"
    return None, look.reason


def _closed_lately(episode: Episode) -> bool:
    closed = episode.incident.closed_at if episode.incident else None
    return closed is not None and timezone.now() - closed < LAG


def _listed(episode: Episode) -> bool:
    return any(alert.fingerprint == episode.fingerprint for alert in alertmanager.active_alerts())
