"""Failed logins and tokens, counted by client address for all processes together.

One moment a counter is enough: each failure moves it on by EACH, time passes it by, and who is more than
ALLOWED failures ahead waits. Counters are a fixed number of rows, chosen by a keyed hash of the address: any
number of addresses fills no table, nobody can choose whose counter to share, and no address is stored.
"""

from __future__ import annotations

import logging
import math
from datetime import timedelta

from django.db.models import DateTimeField, F, Value
from django.db.models.functions import Greatest
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from incidents.clients import address, network
from incidents.models import FailureCounter

ALLOWED = 10
EACH = timedelta(seconds=30)
COUNTERS = 65_536

logger = logging.getLogger(__name__)


def attempt(request: HttpRequest | Request, door: str) -> int | None:
    """Count a failure, or what may become one, at `door`; when there were too many, the seconds to wait.

    Who waits is not counted any further. Attempts side by side are counted one by one.
    """
    client = address(request)
    key, now = _key(client, door), timezone.now()
    full = now + EACH * (ALLOWED - 1)
    counter, made = FailureCounter.objects.get_or_create(key=key, defaults={"until": now + EACH})
    if made:
        return None
    moved = Greatest(F("until"), Value(now, output_field=DateTimeField())) + EACH
    # while it waits it is only read: a flood must not hold the database's one writer
    if counter.until <= full and FailureCounter.objects.filter(key=key, until__lte=full).update(until=moved):
        if counter.until + EACH > full:  # the last that is let through says it: at most once in EACH
            logger.warning("too many failures at the %s door from %s", door, client)
        return None
    return max(1, math.ceil((counter.until - full).total_seconds()))


def refund(request: HttpRequest | Request, door: str) -> None:
    """Take back one `attempt`, for it was none."""
    FailureCounter.objects.filter(key=_key(address(request), door)).update(until=F("until") - EACH)


def _key(client: str, door: str) -> str:
    digest = salted_hmac("incidents.throttle", network(client)).digest()
    return f"{door}:{int.from_bytes(digest[:8], 'big') % COUNTERS}"
