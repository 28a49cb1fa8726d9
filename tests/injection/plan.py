"""Which payload goes which way in a run: all ways, or in `make test` a part that turns with the seed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.injection.siege import Siege
from tests.injection.sinks import SINKS
from tests.injection.tally import Tally
from tests.injection.wants import Payload

FULL = os.environ.get("HOMELAB_INJECTION") == "full"
REASONERS = ("model", "playbooks")


def chosen(
    payloads: list[Payload], reasoner: str, sink: str, seed: int
) -> Iterator[tuple[int, Payload, bool]]:
    """Turn, payload, and whether its twin is tried, too.

    Of a part, each payload goes one way with the model, and each third twin; the playbooks, which follow no
    text, meet a third of that.
    """
    way = list(SINKS).index(sink)
    for place, payload in enumerate(payloads):
        turn, on_way = divmod(place + seed, len(SINKS))
        if FULL:
            yield place + seed, payload, True
        elif on_way == way and (reasoner == "model" or turn % 3 == 0):
            yield turn, payload, turn % 6 in (0, 4)


def besieged(siege: Siege, payloads: list[Payload], reasoner: str, sink: str, seed: int) -> Tally:
    tally = Tally(reasoner, sink)
    for turn, payload, with_twin in chosen(payloads, reasoner, sink, seed):
        attack = siege.attack(payload, sink, turn)
        tally.count(payload.name, payload.text, attack, attacks=1, read=attack.reached, held=attack.held)
        if with_twin:
            twin = siege.twin(payload, sink, turn)
            tally.count(payload.name, payload.twin, twin, twins=1, done=twin.done)
    return tally
