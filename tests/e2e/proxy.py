"""A TCP proxy on loopback that lets through, stalls or cuts: how a dependency goes away.

``passing`` joins both sides; ``stalled`` accepts and carries nothing, as a network that drops packets does;
``cut`` ends what is open and refuses what comes. Needs neither pytest nor Django.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from .process import free_port

Mode = Literal["passing", "stalled", "cut"]
CHUNK = 64 * 1024


class Proxy:
    """In front of the server at ``url``; its own ``url`` differs in host and port only."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._behind = (parts.hostname, parts.port)
        self.port = free_port()
        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}"
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self.mode: Mode = "passing"
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

    async def _set(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "passing":
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
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass  # the server behind is away, one of both sides has gone, or we were cut
        finally:
            self._open.discard(task)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            await self._moving.wait()
            sink.write(data)
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()
