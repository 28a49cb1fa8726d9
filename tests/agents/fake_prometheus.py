"""A small server that answers Prometheus's query API from tables, in its own JSON shapes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NOW = 1_700_000_000.0
LOOKBACK = 300.0  # an older sample is none, as in Prometheus
Row = tuple[Mapping[str, str], float | str]


@dataclass
class FakePrometheus:
    """`rows`: what an expression returns; `samples`: labels and time of each selector's newest samples.

    What no table names is empty. `errors` answers an expression with (status, errorType, error).
    `ranges`: labels and points of a range query. `paths`: `data` of the other endpoints.
    """

    rows: dict[str, Sequence[Row]] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    errors: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    ranges: dict[str, Sequence[tuple[Mapping[str, str], Sequence[tuple[float, str]]]]] = field(
        default_factory=dict
    )
    paths: dict[str, Any] = field(default_factory=dict)
    now: float = NOW
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, params: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, params))
        query = params.get("query", "")
        if query in self.errors:
            status, kind, text = self.errors[query]
            return status, {"status": "error", "errorType": kind, "error": text}
        if path == "query":
            return 200, self._success(self._instant(query, float(params.get("time", self.now))), query)
        if path == "query_range":
            result = [{"metric": labels, "values": points} for labels, points in self.ranges.get(query, ())]
            return 200, self._success({"resultType": "matrix", "result": result}, query)
        if path in self.paths:
            return 200, self._success(self.paths[path])
        return 404, {"status": "error", "errorType": "not_found", "error": f"no {path} here"}

    def _success(self, data: Any, query: str = "") -> dict[str, Any]:
        warned = {"warnings": self.warnings[query]} if query in self.warnings else {}
        return {"status": "success", "data": data, **warned}

    def _instant(self, query: str, at: float) -> dict[str, Any]:
        scalars = {"time()": at, **self.scalars}
        if query in scalars:
            return {"resultType": "scalar", "result": [at, str(scalars[query])]}
        if query.startswith("timestamp("):
            selector = query.removeprefix("timestamp(").removesuffix(")")
            rows: Sequence[Row] = [
                row for row in self.samples.get(selector, ()) if at - LOOKBACK < row[1] <= at
            ]
        else:
            rows = self.rows.get(query, ())
        result = [{"metric": labels, "value": [at, str(value)]} for labels, value in rows]
        return {"resultType": "vector", "result": result}


@contextmanager
def serving(fake: FakePrometheus) -> Iterator[FakePrometheus]:
    """Serve `fake` on loopback; its `url` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as by the real one
        timeout = 0.2  # s until an idle one is closed: so long waits who wants the rest of a damaged answer
        disable_nagle_algorithm = True  # else a body may wait 40 ms for the acknowledgement of its headers

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, body = fake.answer(parts.path.removeprefix("/api/v1/"), dict(parse_qsl(parts.query)))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serve(Handler) as url:
        fake.url = url
        yield fake


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Serve a handler on a loopback port, by default a free one; the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
