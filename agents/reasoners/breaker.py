"""Leaves a model's server alone for a while after it failed, in every process, and tries it again.

The state is a row for each rung that has trouble, so what one worker found out spares the others. Once the
pause is over, one conversation tries; when that succeeds, the row is gone.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from agents.models import Breaker
from agents.reasoners.rungs import Rung
from incidents import rawsql

FAILURES = 3  # in a row, of whatever process
PAUSE_SECONDS = 60.0  # doubles with each failure after that
LONGEST_PAUSE_SECONDS = 900.0
LONGEST_WISH_SECONDS = 3600.0  # a server may ask for any pause in Retry-After
TRIAL_SECONDS = 90.0


def _key(rung: Rung) -> str:
    """Of server, model and key: whoever sets another key need not wait. It does not give the key away."""
    value = f"{rung.base_url} {rung.model} {rung.api_key}"
    return salted_hmac("agents.breaker", value, algorithm="sha256").hexdigest()[:40]


def trouble(rung: Rung) -> Breaker | None:
    """The row of a rung that failed lately; None while all is well."""
    return next(iter(rawsql.fetch(Breaker, "key = {}", _key(rung))), None)


def is_open(row: Breaker | None) -> str | None:
    """Why nobody may ask now, in words; None when somebody may."""
    if row is None or row.open_until is None or row.open_until <= timezone.now():
        return None
    until = timezone.localtime(row.open_until)
    return f"left alone until {until:%H:%M:%S}: {row.reason}"


def admit(row: Breaker | None) -> str | None:
    """As `is_open`; of those who come when the pause is over, one is let in to try."""
    if row is None or row.open_until is None:
        return None
    if why := is_open(row):
        return why
    trial = timezone.now() + timedelta(seconds=TRIAL_SECONDS)
    won = Breaker.objects.filter(pk=row.pk, open_until=row.open_until).update(open_until=trial)
    return None if won else f"another worker is trying it after: {row.reason}"


def failed(rung: Rung, reason: str, *, pause: float | None) -> datetime | None:
    """Count a failure. Until when the rung is left alone: `pause` seconds, else from the third failure on."""
    rows = Breaker.objects.filter(pk=_key(rung))
    Breaker.objects.get_or_create(pk=_key(rung), defaults={"rung": f"{rung.model} at {rung.endpoint}"[:300]})
    rows.update(failures=F("failures") + 1, reason=reason[:300])
    failures = rows.values_list("failures", flat=True).first() or 1
    if pause is None and failures < FAILURES:
        return None
    grown = min(PAUSE_SECONDS * 2.0 ** min(max(0, failures - FAILURES), 10), LONGEST_PAUSE_SECONDS)
    seconds = grown if pause is None else min(max(pause, 1.0), LONGEST_WISH_SECONDS)
    until = timezone.now() + timedelta(seconds=seconds)
    # A trial's time is replaced, a longer pause that another worker set is kept.
    rows.filter(Q(open_until=None) | Q(open_until__lt=until)).update(open_until=until)
    return until


def healed(row: Breaker | None) -> None:
    """The rung answered."""
    if row is not None:
        Breaker.objects.filter(pk=row.pk).delete()
