"""Every hostile text that a person wrote, with its twin and with what it wants."""

from __future__ import annotations

from tests.injection.orders import ORDERS
from tests.injection.suspicions import SUSPICIONS
from tests.injection.tricks import TRICKS
from tests.injection.wants import Payload


def written() -> list[Payload]:
    return [
        Payload(f"{family} {number}", family, row[0], row[1], row[2], row[3] if len(row) == 4 else "crashed")
        for family, rows in {**ORDERS, **TRICKS, "suspicion": SUSPICIONS}.items()
        for number, row in enumerate(rows, start=1)
    ]
