"""A Qdrant server for tests: the REST endpoints the memory uses, in the shapes of its OpenAPI file."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.incidents.memory.qdrant_search import UNNAMED, Collection, Refusal, query

__all__ = ["Collection", "Exchange", "FakeQdrant", "Refusal"]
INVALID_IN_NAMES = set('<>:"/\\|?*\0\x1f')


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what was answered."""

    method: str
    path: str
    body: Any
    status: int
    answer: Any


class FakeQdrant:
    """`collections` and `aliases` are what it holds; `down` makes every request answer 503; `next_refusals`
    are answered first, one a request; `requests` is what came, `exchanges` (when it is a list) all of it."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.down = False
        self.delay = 0.0
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.next_refusals: deque[Refusal] = deque()
        self.requests: list[tuple[str, str]] = []
        self.exchanges: list[Exchange] | None = None
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

    def points(self, name: str = "homelab_past") -> dict[int | str, dict[str, Any]]:
        return self._get(name).points

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The `result` of a request. Raises Refusal."""
        match [method, *(unquote(part) for part in path.strip("/").split("/"))]:
            case ["POST", "collections", "aliases"]:
                return self._change_aliases(body["actions"])
            case ["GET", "collections"]:
                return {"collections": [{"name": name} for name in self.collections]}
            case ["GET", "aliases"]:
                pairs = self.aliases.items()
                return {"aliases": [{"alias_name": name, "collection_name": held} for name, held in pairs]}
            case ["GET", "collections", name, "exists"]:
                return {"exists": self.aliases.get(name, name) in self.collections}
            case ["PUT", "collections", name]:
                return self._create(name, body)
            case ["DELETE", "collections", name]:
                self.aliases = {alias: held for alias, held in self.aliases.items() if held != name}
                return self.collections.pop(name, None) is not None
            case [_, "collections", name, *rest]:
                return self._of_collection(method, self._get(name), rest, body)
        raise Refusal(404, "Not found")

    def _of_collection(
        self, method: str, collection: Collection, rest: list[str], body: dict[str, Any]
    ) -> Any:
        match [method, *rest]:
            case ["GET"]:
                return _info(collection)
            case ["PUT", "index"]:
                collection.indexed.add(body["field_name"])
            case ["PUT", "points"]:
                for point in _points(body):
                    collection.upsert(point)
            case ["POST", "points", "delete"]:
                for key in body["points"]:
                    collection.points.pop(key, None)
            case ["POST", "points", "count"]:
                return {"count": len(collection.points)}
            case ["POST", "points", "scroll"]:
                return _scroll(collection, body)
            case ["POST", "points", "query"]:
                return {"points": query(collection, body)}
            case ["POST", "points", "query", "batch"]:
                return [{"points": query(collection, each)} for each in body["searches"]]
            case _:
                raise Refusal(404, "Not found")
        return {"operation_id": len(self.requests), "status": "completed"}

    def _get(self, name: str) -> Collection:
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        return found

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self.collections:
            raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise Refusal(400, f"Wrong input: Can't create collection with name {name}. It is an alias")
        made = Collection.made(body)
        for each in (*made.named, *made.sparse):
            if each == UNNAMED or len(each) > 255 or INVALID_IN_NAMES & set(each):
                raise Refusal(422, f"Validation error in JSON body: {each!r} is no name of a vector")
        self.collections[name] = made
        return True

    def _change_aliases(self, actions: list[dict[str, Any]]) -> bool:
        """All or none."""
        aliases = dict(self.aliases)
        for action in actions:
            if create := action.get("create_alias"):
                if create["alias_name"] in self.collections:
                    raise Refusal(409, f"Wrong input: Collection `{create['alias_name']}` already exists!")
                if create["collection_name"] not in self.collections:
                    raise Refusal(404, f"Not found: Collection `{create['collection_name']}` doesn't exist!")
                aliases[create["alias_name"]] = create["collection_name"]
            elif delete := action.get("delete_alias"):
                aliases.pop(delete["alias_name"], None)
            else:
                raise Refusal(400, "Format error in JSON body: unknown alias operation")
        self.aliases = aliases
        return True


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
        status, headers = 200, {}
        with self.fake.lock:
            self.fake.requests.append((self.command, path))
            try:
                self.check()
                body = json.loads(raw or b"{}")
                answer["result"] = self.fake.answer(self.command, path, body)
            except Refusal as refusal:
                body = None
                status, headers = refusal.status, refusal.headers
                answer = {"status": {"error": refusal.message}, "result": None}
            except (ValueError, KeyError, TypeError) as error:  # as a strict reader of the body answers
                body = None
                status = 400
                answer = {"status": {"error": f"Format error in JSON body: {error!r}"}, "result": None}
            answer["time"] = time.perf_counter() - started
            if self.fake.exchanges is not None:
                self.fake.exchanges.append(Exchange(self.command, path, body, status, answer))
        self.send(status, json.dumps(answer).encode(), headers)

    def check(self) -> None:
        if self.fake.down:
            raise Refusal(503, "Service unavailable")
        if self.fake.next_refusals:
            raise self.fake.next_refusals.popleft()
        if self.fake.api_key is not None and self.headers.get("api-key") != self.fake.api_key:
            raise Refusal(401, "Must provide an API key or an Authorization bearer token")

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        with suppress(ConnectionError):  # who asked did not wait
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any


def _points(body: dict[str, Any]) -> list[dict[str, Any]]:
    """One by one, or as columns."""
    if "points" in body:
        return list(body["points"])
    batch = body["batch"]
    payloads = batch.get("payloads") or [None] * len(batch["ids"])
    columns = batch["vectors"]
    rows = (
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if isinstance(columns, dict)
        else columns
    )
    return [
        {"id": key, "vector": vector, "payload": payload}
        for key, vector, payload in zip(batch["ids"], rows, payloads, strict=True)
    ]


def _scroll(collection: Collection, body: dict[str, Any]) -> dict[str, Any]:
    """By id, numbers before UUIDs, from `offset` on."""
    if body.get("with_vector") is not False:
        raise Refusal(400, "this server gives no vectors away")
    keys = sorted(collection.points, key=lambda key: (isinstance(key, str), key))
    start = keys.index(body["offset"]) if body.get("offset") is not None else 0
    page, rest = keys[start : start + body["limit"]], keys[start + body["limit"] :]
    points = [{"id": key, "payload": collection.points[key]["payload"]} for key in page]
    return {"points": points, "next_page_offset": rest[0] if rest else None}


def _info(collection: Collection) -> dict[str, Any]:
    vectors: dict[str, Any] = collection.named
    if collection.size:
        vectors = {"size": collection.size, "distance": collection.distance}
    params = {"vectors": vectors, "sparse_vectors": collection.sparse}
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": len(collection.points),
        "payload_schema": {},
        "config": {
            "params": params,
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5},
        },
    }
