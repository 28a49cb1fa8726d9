"""A local server that speaks OpenAI's chat completions protocol and answers from a script.

The client under test talks real HTTP to it; only the model is replaced, by a callable that
decides the answer from the request it really got. Served: POST /v1/chat/completions,
POST /v1/embeddings, GET /v1/models. Not served: streaming (answered with 400).
"""

from __future__ import annotations

import base64
import bisect
import json
import math
import re
import struct
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]

CACHE_BLOCK = 128  # tokens: prompts are cached in blocks of this size ...
CACHE_MINIMUM = 1024  # ... once they are at least this long
DIMENSIONS = 64
DRIPS = 100


@dataclass(frozen=True)
class Response:
    """What the server sends: a completion made of ``message``, or ``body`` as it is.

    ``delay`` seconds pass first. With ``hang`` nothing is ever sent and the connection is
    dropped when the server closes. With ``cut`` the connection ends in the middle of the body; with
    ``drip`` the body comes after DRIPS blanks, one every so many seconds. ``usage`` overrides parts of the
    usage that is counted; None leaves it out.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: Json | None = None
    body: bytes | Json = b""
    finish_reason: str | None = None
    usage: Json | None = field(default_factory=dict)
    delay: float = 0.0
    hang: bool = False
    cut: bool = False
    drip: float = 0.0


Script = Callable[[Json], "Json | Response"]


@dataclass(frozen=True)
class Recorded:
    """A request as it came: ``json`` is None if ``body`` was no JSON object; ``at`` is time.time()."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    json: Json | None
    at: float


def tool_call(name: str, arguments: Json | str, id: str | None = None) -> Json:
    """One call for ``call_tools``; ``arguments`` as a str goes out untouched, so may be broken JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call_id = id or f"call_{uuid.uuid4().hex[:24]}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def call_tools(*calls: Json, content: str | None = None) -> Json:
    """An assistant message that asks for ``calls`` (see ``tool_call``)."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def say(content: str | Json) -> Json:
    """An assistant message with text; a dict becomes JSON, as in a structured answer."""
    return {"role": "assistant", "content": content if isinstance(content, str) else json.dumps(content)}


def error(
    status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error in OpenAI's shape, e.g. ``error(500, "The server had an error")``."""
    kind = {429: "requests"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Response(status=status, headers=headers or {}, body=body)


def rate_limited(retry_after: float) -> Response:
    """429 with a Retry-After of so many seconds."""
    message = f"Rate limit reached. Please try again in {retry_after:g}s."
    return error(429, message, code="rate_limit_exceeded", headers={"Retry-After": f"{retry_after:g}"})


def malformed() -> Response:
    """200 with a body that stops in the middle of its JSON."""
    return Response(body=b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"ind')


class OpenAIServer:
    """Context manager: serves on a random loopback port at ``base_url`` (ends in /v1).

    ``script(request)`` gets the parsed request, from one thread per connection, and returns
    an assistant message or a Response. An exception in it drops the connection and is raised
    again on leaving the context, so that an assertion in a script fails its test.
    """

    def __init__(self, script: Script, *, api_key: str | None = None, models: Sequence[str] = ("scripted",)):
        self.script, self.api_key, self.models = script, api_key, tuple(models)
        self.requests: list[Recorded] = []
        self.errors: list[BaseException] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._prompts: list[str] = []
        self._http = _HttpServer(("127.0.0.1", 0), self)
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        if kind is None and self.errors:
            raise self.errors[0]

    @property
    def chats(self) -> list[Json]:
        """The parsed chat completion requests so far, in order."""
        found = [r.json for r in self.requests if r.path == "/v1/chat/completions"]
        return [request for request in found if request is not None]

    def answer(self, request: Recorded) -> Response:
        """Record the request and work out its answer."""
        with self._lock:
            self.requests.append(request)
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return error(401, "Incorrect API key provided.", code="invalid_api_key")
        route = f"{request.method} {request.path}"
        if route == "GET /v1/models":
            listed = [{"id": m, "object": "model", "created": 0, "owned_by": "local"} for m in self.models]
            return Response(body={"object": "list", "data": listed})
        handlers = {"POST /v1/chat/completions": self._chat, "POST /v1/embeddings": _embeddings}
        if route not in handlers:
            return error(404, f"Invalid URL ({route})")
        if request.json is None:
            return error(400, "We could not parse the JSON body of your request.")
        return handlers[route](request.json)

    def _chat(self, request: Json) -> Response:
        problem = _chat_problem(request)
        if problem:
            return error(400, problem)
        result = self.script(request)
        response = result if isinstance(result, Response) else Response(message=result)
        if response.message is None:
            return response
        message = {"role": "assistant", "content": None, "refusal": None, **response.message}
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": response.finish_reason or reason,
        }
        body = {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request["model"],
            "choices": [choice],
        }
        if response.usage is not None:
            body["usage"] = {**self._usage(request, message), **response.usage}
        return replace(response, body=body)

    def _usage(self, request: Json, message: Json) -> Json:
        """Tokens at four characters each; a prefix seen in an earlier prompt counts as cached."""
        prompt = json.dumps([request.get("tools"), request["messages"]])
        with self._lock:
            prefix = max((_common_prefix(prompt, old) for old in self._prompts), default=0)
            self._prompts.append(prompt)
        cached = prefix // 4 // CACHE_BLOCK * CACHE_BLOCK
        tokens, completion = _tokens(prompt), _tokens(json.dumps(message))
        return {
            "prompt_tokens": tokens,
            "completion_tokens": completion,
            "total_tokens": tokens + completion,
            "prompt_tokens_details": {"cached_tokens": cached if cached >= CACHE_MINIMUM else 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], owner: OpenAIServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what a script raised; a client that went away (its timeout) is no error of ours."""
        problem = sys.exception()
        if problem is not None and not isinstance(problem, ConnectionError):
            self.owner.errors.append(problem)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body may wait 40 ms for the acknowledgement of its headers

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: ``requests`` is the log."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        request = Recorded(self.command, path, headers, body, _parse(body), time.time())
        response = self.server.owner.answer(request)
        closing = self.server.owner.closing
        if closing.wait(None if response.hang else response.delay) or response.hang:
            self.close_connection = True
            return
        content = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        if response.drip:
            self._drip(response.drip, content)
            return
        self.send_response(response.status)
        fixed = {"Content-Type": "application/json", "x-request-id": f"req_{uuid.uuid4().hex}"}
        for name, value in {**fixed, **response.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if response.cut else content)
        self.close_connection = self.close_connection or response.cut

    def _drip(self, seconds: float, content: bytes) -> None:
        """As a proxy does that keeps the line open while a model thinks."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        for _ in range(DRIPS):
            self.server.owner.closing.wait(seconds)
            self.wfile.write(b" ")
        self.wfile.write(content)


def _parse(body: bytes) -> Json | None:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _common_prefix(one: str, other: str) -> int:
    """The number of leading characters that two strings share, found by halving."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect.bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])


def _tokens(text: str) -> int:
    return -(-len(text) // 4)


def _chat_problem(request: Json) -> str | None:
    """What the real API would refuse in this request, in its words; None if it would take it."""
    messages = request.get("messages")
    if not request.get("model"):
        return "you must provide a model parameter"
    if not isinstance(messages, list) or not messages:
        return "Missing required parameter: 'messages'."
    if request.get("stream"):
        return "This server does not stream."
    expected: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in expected:
                return "A message with role 'tool' must answer a preceding message with 'tool_calls'."
            expected.remove(message["tool_call_id"])
        elif expected:
            break
        expected |= {call["id"] for call in message.get("tool_calls") or ()}
    if expected:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            f"to each 'tool_call_id'. No answer to: {', '.join(sorted(expected))}"
        )
    return None


def _embeddings(request: Json) -> Response:
    """Unit vectors that are the closer the more words two texts share; the same in every run."""
    given = request.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return error(400, "'input' must be a string or a list of strings.")
    vectors = [embed(text, request.get("dimensions") or DIMENSIONS) for text in texts]
    encode = _base64 if request.get("encoding_format") == "base64" else list[float]
    data = [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)]
    tokens = sum(map(_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Response(body={"object": "list", "data": data, "model": request.get("model"), "usage": usage})


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector the server gives for ``text``: hashed words, counted and scaled to length 1."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    length = math.hypot(*vector)
    return [value / length for value in vector]


def _base64(vector: list[float]) -> str:
    """Little-endian 32-bit floats, the form the official client asks for by default."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
