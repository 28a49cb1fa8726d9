"""The memory's part of the benchmark, in a process of its own: fills a memory, recalls from it.

Prints how fast texts were embedded, how long a recall took, and by how much the process grew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import django

django.setup()

import numpy as np  # noqa: E402 what follows needs Django to be ready
from django.core.management import call_command  # noqa: E402
from django.db.models import F  # noqa: E402
from django.utils import timezone  # noqa: E402

from incidents.memory import fill, recall  # noqa: E402
from incidents.memory.embed import Vectors, get_embedder, passages, unit_rows  # noqa: E402
from incidents.memory.rows import packed  # noqa: E402
from incidents.models import MemoryEntry  # noqa: E402
from incidents.queue import State  # noqa: E402

from .processes import memory_mb  # noqa: E402
from .scrape import percentiles  # noqa: E402

SEED = 20261123
RECALLS = 200
PARALLEL_TEXTS = 200
NOISE = 0.02  # how far the vectors of two incidents of one alert are apart, in each of the numbers

_SERVICES = """
    jellyfin immich nextcloud postgresql redis prometheus alertmanager traefik vaultwarden gitea homeassistant
    pihole grafana loki minio paperless frigate zigbee2mqtt mosquitto node-exporter cadvisor wireguard unifi
    proxmox kafka rabbitmq elasticsearch mysql etcd coredns
"""
SERVICES = _SERVICES.split()
TROUBLES = {
    "Down": "has not answered its health check for 5 minutes and the target is down",
    "CrashLooping": "restarts again and again, its container exited with code 137",
    "DiskFull": "has less than 5% of its volume left, writes fail with no space left on device",
    "HighMemory": "uses more than 95% of its memory limit and may be killed",
    "HighCpu": "is throttled, its processor quota has been used up for 15 minutes",
    "SlowRequests": "answers the 99th percentile of its requests in more than 2 seconds",
    "ErrorRate": "answers more than 5% of its requests with an error 5xx",
    "CertificateExpires": "serves a TLS certificate that expires in less than 7 days",
    "BackupOld": "has not been backed up successfully for more than 26 hours",
    "ConnectionsExhausted": "has used up its pool, new connections are refused",
    "ReplicationLag": "is more than 300 seconds behind its primary",
    "QueueGrows": "has a backlog of messages that nobody consumes",
    "ConfigReloadFailed": "could not load its configuration and runs with the old one",
    "ClockSkew": "has a clock that differs from the others by more than 0.05 seconds",
    "PacketLoss": "loses more than 3% of the packets on its network interface",
    "Unauthorized": "was refused by its upstream, the credentials or token are not valid any more",
    "InodesLow": "has fewer than 3% of its inodes left on the data volume",
    "TooHot": "reports a temperature above 85 degrees and lowers its frequency",
    "QuorumLost": "has lost its leader, no member can be elected",
    "UpdateFailed": "could not pull its new image and still runs the version before",
}
CAUSES = (
    "a log file that nobody rotates had grown to 40 GB after debug logging was left on by the last upgrade",
    "the upstream changed its address and the old one was still cached by the resolver of the container",
    "a nightly job read the whole library at once and the page cache pushed out everything else",
    "the switch port negotiated 100 Mbit after the power cut, so every backup ran into the day",
    "an index was missing since the migration, and each request read the whole table",
    "the disk reports reallocated sectors and every write waits for its retries",
)
REMEDIES = ("restarted the container", "deleted old snapshots", "raised the limit", "renewed the certificate")


def main(count: int) -> None:
    call_command("migrate", verbosity=0)
    rng = random.Random(SEED)
    kinds = list(itertools.product(SERVICES, TROUBLES))
    texts = {kind: _text(rng, *kind) for kind in kinds}
    vectors, embedded = _embedded(texts)
    chosen = [kinds[number % len(kinds)] for number in range(count)]
    rows = (_row(rng, number, *kind, vectors[kind]) for number, kind in enumerate(chosen))
    MemoryEntry.objects.bulk_create(rows, batch_size=500)
    MemoryEntry.objects.update(updated_at=F("happened_at"))  # what was written just now is looked at again
    before = memory_mb([os.getpid()])["rss_mb"]
    began = time.perf_counter()
    fill()
    filled = time.perf_counter() - began
    asked = _questions(rng, kinds)
    worked = time.process_time()
    took = percentiles(lambda: recall(*next(asked)), RECALLS)
    worked = time.process_time() - worked
    grown = memory_mb([os.getpid()])["rss_mb"] - before
    table = {
        f"recall at {count} entries": {**took, "cpu_ms": round(1000 * worked / RECALLS, 1)},
        "loading them": {"seconds": round(filled, 1), "rss_growth_mb": round(grown)},
        "embedding texts of 140 tokens": embedded,
    }
    print(json.dumps(table))


def _embedded(texts: dict[tuple[str, str], str]) -> tuple[dict[tuple[str, str], Vectors], dict[str, float]]:
    """Vectors of the texts, one text at a time as `sync` does it, and how many a second; then by two threads,
    as two workers do it."""
    embedder = get_embedder()
    embedder.embed(["loads the model"])
    began, worked = time.perf_counter(), time.process_time()
    vectors = {kind: embedder.embed(passages(text)) for kind, text in texts.items()}
    worked, took = time.process_time() - worked, time.perf_counter() - began
    some = list(texts.values())[:PARALLEL_TEXTS]
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(lambda text: embedder.embed(passages(text)), some))
    parallel = time.perf_counter() - began
    return vectors, {
        "a_second": round(len(texts) / took, 1),
        "a_cpu_second": round(len(texts) / worked, 1),
        "a_second_2_at_once": round(len(some) / parallel, 1),
    }


def _text(rng: random.Random, service: str, trouble: str) -> str:
    """About 140 tokens, as `compose` words an incident."""
    causes = "; ".join(rng.sample(CAUSES, 4))
    return "\n".join(
        (
            f"{service.title()}{trouble}",
            f"{service} on host{rng.randrange(40)} {TROUBLES[trouble]}",
            f"severity: {rng.choice(('warning', 'critical'))}",
            f"systems: docker:host{rng.randrange(40)}/{service}",
            f"cause: {causes}",
            f"remediation: {rng.choice(REMEDIES)} and watched it for an hour",
            "verdict: verified",
        )
    )


def _row(rng: random.Random, number: int, service: str, trouble: str, vectors: Vectors) -> MemoryEntry:
    """An entry with a text of its own and a vector that is nearly its alert's: to embed each would take
    minutes, and to search them takes the same."""
    text = _text(rng, service, trouble)
    noise = np.random.default_rng(number).normal(0, NOISE, (len(passages(text)), vectors.shape[1]))
    return MemoryEntry(
        kind=MemoryEntry.Kind.IMPORTED,
        key=f"bench:{number}",
        title=f"{service.title()}{trouble}",
        happened_at=timezone.now() - timedelta(hours=number),
        text=text,
        payload={"target_kind": "docker", "verdict": "verified"},
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
        model=get_embedder().name,
        vector=packed(unit_rows(vectors[:1] + noise)),
        state=State.DONE,
        synced_at=timezone.now(),
    )


def _questions(rng: random.Random, kinds: list[tuple[str, str]]) -> Iterator[tuple[str]]:
    while True:
        service, trouble = rng.choice(kinds)
        yield (f"{service.title()}{trouble} {service} on host{rng.randrange(40)} {TROUBLES[trouble]}",)


if __name__ == "__main__":
    main(int(sys.argv[1]))
