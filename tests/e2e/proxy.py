"""A TCP proxy on loopback that lets through, stalls, cuts or corrupts: how a dependency goes away.

``passing`` joins both sides; ``stalled`` accepts and carries nothing, as a network that drops packets does;
``cut`` ends what is open and refuses what comes; ``corrupt`` lets through, and damages what comes back.
Needs neither pytest nor Django.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from .process import free_port

Mode = Literal["passing", "stalled", "cut", "corrupt"]
CHUNK = 64 * 1024
HIGH_BIT = 0x80  # text with it is no UTF-8 any more, so whoever reads text can notice
ANY_BIT = 0xFF


class Damage:
    """Flips one bit in each ``gap`` bytes or so of a stream, after its first ``spared`` ones.

    Which, is the seed's matter and the place's in the stream, however it is cut into pieces. ``bits`` are
    those that may be flipped. Two damaged bytes are never neighbours, which might be a letter again.
    """

    def __init__(self, seed: int, *, spared: int, gap: int, bits: int) -> None:
        self._random = random.Random(seed)
        self._gap = gap
        self._bits = [1 << place for place in range(8) if bits >> place & 1]
        self._next = spared + self._random.randrange(gap)

    def applied(self, data: bytes) -> bytes:
        hurt = bytearray(data)
        while self._next < len(hurt):
            hurt[self._next] ^= self._random.choice(self._bits)
            self._next += 2 + self._random.randrange(self._gap)
        self._next -= len(hurt)
        return bytes(hurt)


class Proxy:
    """In front of the server at ``url``; its own ``url`` differs in host and port only.

    The rest is for ``corrupt``, and as in ``Damage``: each connection is damaged anew, and alike.
    """

    def __init__(
        self, url: str, *, seed: int = 1, spared: int = 0, gap: int = 40, bits: int = HIGH_BIT
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._behind = (parts.hostname, parts.port)
        self.port = free_port()
        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}"
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self.mode: Mode = "passing"
        self.seed, self.spared, self.gap, self.bits = seed, spared, gap, bits
        self.damaged = 0  # pieces of answers
        self._loop = asyncio.new_event_loop()
        self._moving = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.set("passing")
        return self

    def __exit__(self, *_: object) -> None:
        self.set("cut")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: Mode) -> None:
        """From now on; when it returns, it is so."""
        asyncio.run_coroutine_threadsafe(self._set(mode), self._loop).result(5)

    def corruptions(self, bits: int, times: int, *, least: int = 0) -> Iterator[int]:
        """`corrupt` in one way after the other: in an answer's first line, in its headers, in its body.

        ``least``: so many bytes are always spared.
        """
        self.bits = bits
        self.set("corrupt")
        for seed in range(times):
            self.seed, self.spared = seed, least + seed * 40 % 250
            yield seed
        self.set("passing")

    async def _set(self, mode: Mode) -> None:
        self.mode = mode
        if mode in ("passing", "corrupt"):
            self._moving.set()
        else:
            self._moving.clear()
        if mode == "cut":
            await self._close()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._moving.wait()
            there, back = await asyncio.open_connection(*self._behind)
            try:
                damage = Damage(self.seed, spared=self.spared, gap=self.gap, bits=self.bits)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer, damage))
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass  # the server behind is away, one of both sides has gone, or we were cut
        finally:
            self._open.discard(task)
            writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, damage: Damage | None = None
    ) -> None:
        while data := await source.read(CHUNK):
            await self._moving.wait()
            if damage and self.mode == "corrupt":
                sound, data = data, damage.applied(data)
                self.damaged += data != sound
            sink.write(data)
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()
