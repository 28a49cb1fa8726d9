"""A Qdrant server for tests: the REST endpoints the memory uses, in the shapes of its OpenAPI file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np


@dataclass
class Collection:
    size: int
    distance: str
    points: dict[int, dict[str, Any]] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)


@dataclass
class Refusal(Exception):
    status: int
    message: str


class FakeQdrant:
    """`collections` is what it holds; `down` makes every request answer 503; `requests` is what came."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.down = False
        self.delay = 0.0
        self.collections: dict[str, Collection] = {}
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[FakeQdrant]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def points(self, name: str = "incidents") -> dict[int, dict[str, Any]]:
        return self.collections[name].points

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The `result` of a request. Raises Refusal."""
        match [method, *path.strip("/").split("/")]:
            case ["GET", "collections", name, "exists"]:
                return {"exists": name in self.collections}
            case ["GET", "collections", name]:
                return _info(self._get(name))
            case ["PUT", "collections", name]:
                return self._create(name, body)
            case ["DELETE", "collections", name]:
                return self.collections.pop(name, None) is not None
            case ["PUT", "collections", name, "index"]:
                self._get(name).indexed.add(body["field_name"])
            case ["PUT", "collections", name, "points"]:
                self._upsert(self._get(name), body["points"])
            case ["POST", "collections", name, "points", "delete"]:
                for key in body["points"]:
                    self._get(name).points.pop(key, None)
            case ["POST", "collections", name, "points", "count"]:
                return {"count": len(self._get(name).points)}
            case ["POST", "collections", name, "points", "query"]:
                return {"points": _query(self._get(name), body)}
            case _:
                raise Refusal(404, "Not found")
        return {"operation_id": len(self.requests), "status": "completed"}

    def _get(self, name: str) -> Collection:
        if name not in self.collections:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        return self.collections[name]

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self.collections:
            raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
        self.collections[name] = Collection(body["vectors"]["size"], body["vectors"]["distance"])
        return True

    def _upsert(self, collection: Collection, points: list[dict[str, Any]]) -> None:
        for point in points:
            if not isinstance(point["id"], int) or point["id"] < 0:
                raise Refusal(400, f"Format error: {point['id']!r} is no point id")
            if len(point["vector"]) != collection.size:
                raise Refusal(400, f"Wrong input: Vector dimension error: expected dim: {collection.size}")
            collection.points[point["id"]] = point


class _Handler(BaseHTTPRequestHandler):
    fake: FakeQdrant
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that is killed is no error of ours
            super().handle()

    def handle_any(self) -> None:
        started = time.perf_counter()
        path = urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        time.sleep(self.fake.delay)
        answer: dict[str, Any] = {"status": "ok"}
        status = 200
        with self.fake.lock:
            self.fake.requests.append((self.command, path))
            try:
                self.check()
                answer["result"] = self.fake.answer(self.command, path, json.loads(raw or b"{}"))
            except Refusal as refusal:
                status = refusal.status
                answer = {"status": {"error": refusal.message}, "result": None}
        answer["time"] = time.perf_counter() - started
        self.send(status, json.dumps(answer).encode())

    def check(self) -> None:
        if self.fake.down:
            raise Refusal(503, "Service unavailable")
        if self.fake.api_key is not None and self.headers.get("api-key") != self.fake.api_key:
            raise Refusal(401, "Must provide an API key or an Authorization bearer token")

    def send(self, status: int, body: bytes) -> None:
        with suppress(ConnectionError):  # who asked did not wait
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any


def _query(collection: Collection, body: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = [(rule["key"], rule["match"]["value"]) for rule in (body.get("filter") or {}).get("must", [])]
    vector = np.array(body["query"]["nearest"])
    if len(vector) != collection.size:
        raise Refusal(400, f"Wrong input: Vector dimension error: expected dim: {collection.size}")
    scored = [
        {"id": key, "version": 0, "score": float(np.dot(vector, point["vector"]))}
        for key, point in collection.points.items()
        if all(point["payload"].get(name) == value for name, value in wanted)
    ]
    return sorted(scored, key=lambda point: -float(point["score"]))[: body["limit"]]


def _info(collection: Collection) -> dict[str, Any]:
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": len(collection.points),
        "payload_schema": {},
        "config": {
            "params": {"vectors": {"size": collection.size, "distance": collection.distance}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5},
        },
    }
