"""Logs of a megabyte with one line that matters, to see whether it is still there in an excerpt."""

from __future__ import annotations

import random
from collections.abc import Callable

from agents.excerpt import excerpt

MEGABYTE = 1_000_000
NEEDLES = (
    "kernel: Out of memory: Killed process {n} (worker) total-vm:{n}kB",
    "FATAL: could not open relation mapping file global/pg_filenode.map: no such file",
    "panic: runtime error: invalid memory address or nil pointer dereference",
    "write /var/lib/data/segment-{n}: no space left on device",
    "dial tcp 10.0.0.{m}:5432: connect: connection refused",
    "x509: certificate has expired or is not yet valid: current time is after {n}",
    "Traceback (most recent call last):",
    "upstream timed out while reading response header from upstream",
    "container main exited with code {m}",
    "java.lang.OutOfMemoryError: Java heap space",
    "permission denied while trying to open /data/config.yml",
    "EXT4-fs error (device sda{m}): ext4_lookup: deleted inode referenced",
    "segfault at {n} ip {n} sp {n} error 4 in libc.so.6",
    "lookup db.internal on 10.0.0.2:53: no such host",
    "remaining connection slots are reserved for superuser connections",
    "config reload failed: unknown key 'lissten' in line {m}",
    "disk /dev/sdb: SMART overall-health self-assessment test result: FAILED",
    "database is locked",
    "unable to bind to port {m}: address already in use",
    "license key is no longer accepted by the server",
    # those below were written after the rules had been settled, and nothing was changed for them
    "mdadm: device /dev/md0 degraded, 1 of 2 drives active",
    "received signal 15, shutting down",
    "raft: leader stepped down, quorum gone",
    "tls: handshake aborted by peer",
    "PANIC: checksum mismatch on page {n}",
    "mount: wrong fs type, bad option, bad superblock on /dev/sdc1",
    "authentication for user 'backup' was rejected",
    "mysqld: Table './db/users' is marked as damaged",
    "temperature above threshold, cpu clock throttled",
    "OOMKilled",
    "exit status 2",
    "no route to host 10.1.2.{m}",
    "watchdog: BUG: soft lockup - CPU#{m} stuck for 22s!",
    "queue depth {n} above high-water mark, dropping messages",
    "cannot allocate memory",
    "the lock file is held by another process",
    "journal replay needed before mounting",
    "Module build stopped: ENOSPC",
    "ssl alert number 42",
    "gave up waiting for the primary",
)


def quiet(rng: random.Random) -> str:
    path = f"/api/v1/items/{rng.randint(1, 9999)}"
    return f"INFO request {rng.getrandbits(48):x} GET {path} took {rng.random():.3f} s"


def chatty(rng: random.Random) -> str:
    user = "".join(rng.choices("abcdefghij", k=6))
    verb = rng.choice(["opened", "closed", "listed", "played", "paused", "shared"])
    return (
        f"user {user} {verb} album {rng.randint(1, 500)} from {rng.randint(1, 255)}.{rng.randint(1, 255)}.0.1"
    )


def grumbling(rng: random.Random) -> str:
    """A service that logs errors and warnings all day, which mean nothing."""
    return rng.choice(
        [
            f"ERROR client {rng.randint(1, 9999)} closed the connection unexpectedly",
            f"WARN slow query took {rng.randint(500, 900)} ms",
            f"INFO flushed {rng.randint(1, 999)} rows",
            f"ERROR retrying upload of part {rng.randint(1, 99999)}: timeout",
            f"DEBUG cache hit for key {rng.getrandbits(32):08x}",
        ]
    )


def structured(rng: random.Random) -> str:
    return f'{{"level":"info","id":"{rng.getrandbits(64):x}","msg":"tick","took":{rng.randint(1, 99)}}}'


NOISES: tuple[Callable[[random.Random], str], ...] = (quiet, chatty, grumbling, structured)


def haystack(rng: random.Random, noise: Callable[[random.Random], str]) -> list[str]:
    lines: list[str] = []
    size = 0
    while size < MEGABYTE:
        lines.append(f"2026-11-23T04:{len(lines) // 60 % 60:02}:{len(lines) % 60:02}Z {noise(rng)}")
        size += len(lines[-1]) + 1
    return lines


def hidden(rng: random.Random, lines: list[str], needle: str) -> str:
    place = rng.randrange(len(lines))
    return "\n".join([*lines[:place], f"2026-11-23T04:30:00Z {needle}", *lines[place:]])


def recall(rng: random.Random, each: int) -> tuple[int, list[str]]:
    """How many needles were tried, `each` of them in every kind of log, and those that are not shown."""
    tried, missed = 0, []
    for noise in NOISES:
        hay = haystack(rng, noise)
        for template in rng.sample(NEEDLES, each):
            needle = template.format(n=rng.randint(10_000, 99_999), m=rng.randint(1, 255))
            shown = excerpt(hidden(rng, hay, needle), ["ServiceDown", "the service does not answer"])
            tried += 1
            if needle not in shown:
                missed.append(f"{noise.__name__}: {needle}")
    return tried, missed
