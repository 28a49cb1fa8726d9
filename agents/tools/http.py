"""One JSON request for the tools: a total deadline, a cap on size, no redirect to another origin."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from agents.tools.base import ToolError

T = TypeVar("T")

DEADLINE = 10.0  # seconds, from the look-up of the name to the last byte
MAX_BYTES = 16 * 1024 * 1024
MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_CHUNK = 64 * 1024
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_AGAIN = frozenset({408, 425, 429})
# Bad gateway, gateway timeout: the words of a proxy that heard nothing from the server behind it.
OF_A_PROXY = (502, 504)
_idle: list[ThreadPoolExecutor] = []  # of one thread each
os.register_at_fork(after_in_child=_idle.clear)  # a child has the list, not the threads


class AnswerError(ToolError):
    """The server answered, but not with a 2xx. `body` is its JSON, None when it sent none."""

    def __init__(self, message: str, *, status: int, body: Any) -> None:
        super().__init__(message, retryable=status >= 500 or status in _AGAIN)
        self.status = status
        self.body = body


def without_credentials(text: str) -> str:
    """The text with the `user:password@` of every URL in it dropped."""
    return _USERINFO.sub("", text)


def get_json(
    url: str,
    params: Mapping[str, str] | None = None,
    *,
    deadline: float = DEADLINE,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """The JSON value at `url`; credentials in the URL go out as basic authentication.

    ToolError, without these credentials in its text: unreachable, late, too large, not JSON;
    AnswerError for any answer that is not a 2xx.
    """
    return _ask(url, lambda ends: _fetch(url, params, ends, max_bytes), deadline)


def post_json(url: str, sent: Mapping[str, Any], *, deadline: float = DEADLINE) -> Any:
    """What a server answers to a JSON object: the one request here that changes something.

    Errors as of `get_json`. `unanswered`: it may have been heard though nobody heard the answer.
    """
    try:
        return _ask(url, lambda ends: _send(url, sent, ends), deadline)
    except AnswerError as error:
        error.unanswered = error.status in OF_A_PROXY
        raise
    except ToolError as error:
        error.unanswered = True
        raise


def _ask(url: str, request: Callable[[float], tuple[int, bytes]], deadline: float) -> Any:
    ends = time.monotonic() + deadline
    place = _place(url)
    try:
        status, body = within(deadline, lambda: request(ends))
    except TimeoutError as error:
        raise ToolError(f"no answer from {place} in {deadline:g} s", retryable=True) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ToolError(f"cannot reach {place}: {reason_of(error)}", retryable=True) from error
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        if 200 <= status < 300:
            raise ToolError(f"{place} answered {status} with something that is not JSON") from error
        raise AnswerError(f"{place} answered {status}", status=status, body=None) from error
    if not 200 <= status < 300:
        raise AnswerError(f"{place} answered {status}", status=status, body=value)
    return value


def within(seconds: float, function: Callable[[], T]) -> T:
    """`function()`, or TimeoutError after that time.

    On a thread of its own, because a socket's timeout is per read: it bounds neither the look-up of the
    name, nor a connect to several addresses, nor headers that come a byte at a time. A late thread is left
    to its own timeouts; the others are kept for the next call.
    """
    try:
        thread = _idle.pop()
    except IndexError:
        thread = ThreadPoolExecutor(1, thread_name_prefix="tool-http")
    task = thread.submit(copy_context().run, function)
    try:
        return task.result(seconds)
    finally:
        if task.done():
            _idle.append(thread)
        else:
            thread.shutdown(wait=False)


def _fetch(url: str, params: Mapping[str, str] | None, ends: float, max_bytes: int) -> tuple[int, bytes]:
    """Status and body of the last answer of a chain of redirects within one origin."""
    at, headers = _apart(url)
    if params:
        at = f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(params)}"
    for _ in range(MAX_REDIRECTS + 1):
        with _get(at, headers, ends) as response:
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return response.status, _read(response, at, ends, max_bytes)
        at = _follow(at, location)
    raise ToolError(f"{_place(url)} redirects more than {MAX_REDIRECTS} times")


def _get(url: str, headers: Mapping[str, str], ends: float) -> urllib3.BaseHTTPResponse:
    try:
        return _request(_pool(), "GET", url, headers, ends)
    except urllib3.exceptions.ProtocolError:  # its server closed a kept connection at this very moment
        return _request(_pool(), "GET", url, headers, ends)


def _send(url: str, sent: Mapping[str, Any], ends: float) -> tuple[int, bytes]:
    """Status and body. A redirect is an answer like any other: nothing is sent twice.

    On a connection of its own: of a kept one that was just closed, nobody knows what was heard.
    """
    at, headers = _apart(url)
    headers["Content-Type"] = "application/json"
    body = json.dumps(sent).encode()
    with _new_pool() as pool, _request(pool, "POST", at, headers, ends, body) as response:
        return response.status, _read(response, at, ends, MAX_BYTES)


def _request(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    headers: Mapping[str, str],
    ends: float,
    body: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    return pool.request(
        method, url, body=body, headers=headers, timeout=_left(ends), preload_content=False, redirect=False
    )


@cache
def _pool() -> urllib3.PoolManager:
    """Shared by all threads: to connect costs as much as to ask, and with TLS several times that."""
    return _new_pool()


os.register_at_fork(after_in_child=_pool.cache_clear)  # the parent's sockets are not ours


def _new_pool() -> urllib3.PoolManager:
    """These servers are on our own networks: a proxy or .netrc of the environment is not for them."""
    bundle = Path(os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH)
    return urllib3.PoolManager(
        maxsize=4,
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=None if bundle.is_dir() else str(bundle),
        ca_cert_dir=str(bundle) if bundle.is_dir() else None,
    )


def _read(response: urllib3.BaseHTTPResponse, url: str, ends: float, max_bytes: int) -> bytes:
    """The body; `read1` returns what has come, where `read` would wait for a whole chunk."""
    body = bytearray()
    while chunk := response.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > max_bytes:
            raise ToolError(f"{_place(url)} answered with more than {max_bytes} bytes")
        _left(ends)
    response.release_conn()
    return bytes(body)


def _follow(url: str, location: str) -> str:
    """Where a redirect leads, when that is the same server (or the same over TLS)."""
    target, _ = _split_credentials(urljoin(url, location))
    old, new = urlsplit(url), urlsplit(target)
    upgraded = old.hostname == new.hostname and (old.scheme, new.scheme) == ("http", "https")
    if (old.scheme, old.netloc) != (new.scheme, new.netloc) and not upgraded:
        raise ToolError(f"{_place(url)} redirects to another server, {_place(target)}")
    return target


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its credentials, and the headers of a request with them."""
    at, credentials = _split_credentials(url)
    if credentials is None:
        return at, dict(HEADERS)
    basic = base64.b64encode(":".join(credentials).encode()).decode()
    return at, {**HEADERS, "Authorization": f"Basic {basic}"}


def _split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urlsplit(url)
    userinfo, at, server = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=server)), (unquote(user), unquote(password))


def _place(url: str) -> str:
    """Scheme, server and path: a query may be long, and credentials are for nobody to read."""
    return urlunsplit(urlsplit(_split_credentials(url)[0])._replace(query="", fragment=""))


def reason_of(error: BaseException) -> str:
    """The innermost cause, in one line: libraries wrap what others wrapped of the socket's error."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return without_credentials(" ".join(text.split())) or type(error).__name__
