"""What the proxy says it does to a connection, it does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from .proxy import ANY_BIT, HIGH_BIT, Damage, Proxy

TEXT = b"the answer is forty-two, and so on. " * 30


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    def answer(peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(4096):
                peer.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def said(peer: socket.socket, text: bytes = TEXT) -> bytes:
    """What comes back; shorter when the other side ends."""
    peer.sendall(text)
    back = b""
    while len(back) < len(text) and (data := peer.recv(4096)):
        back += data
    return back


def test_passing_changes_nothing(echo: str) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        assert said(peer) == TEXT


def test_corrupt_damages_what_comes_back_alike_on_each_connection(echo: str) -> None:
    with Proxy(echo, seed=7) as proxy, Proxy(echo, seed=8) as other:
        proxy.set("corrupt")
        other.set("corrupt")
        with dial(proxy) as one, dial(proxy) as two, dial(other) as three:
            first, second, differently = said(one), said(two), said(three)
            assert first == second
            assert len(first) == len(TEXT)
            assert len({TEXT, first, differently}) == 3
            with pytest.raises(UnicodeDecodeError):
                first.decode()
            proxy.set("passing")
            assert said(one) == TEXT


def test_stalled_carries_nothing_and_goes_on(echo: str) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        proxy.set("stalled")
        peer.settimeout(0.2)
        with dial(proxy) as late:
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                said(late)
        with pytest.raises(TimeoutError):
            said(peer, b"held")
        proxy.set("passing")
        peer.settimeout(5)
        assert peer.recv(4) == b"held"


def test_cut_ends_and_refuses_until_it_passes(echo: str) -> None:
    with Proxy(echo) as proxy:
        with dial(proxy) as peer:
            assert said(peer, b"x") == b"x"
            proxy.set("cut")
            assert peer.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        proxy.set("passing")
        with dial(proxy) as peer:
            assert said(peer) == TEXT


@pytest.mark.parametrize("pieces", [1, 7, 100, len(TEXT)])
def test_damage_does_not_depend_on_how_a_stream_is_cut(pieces: int) -> None:
    whole = Damage(3, spared=100, gap=30, bits=ANY_BIT).applied(TEXT)
    damage = Damage(3, spared=100, gap=30, bits=ANY_BIT)
    cut = b"".join(damage.applied(TEXT[at : at + pieces]) for at in range(0, len(TEXT), pieces))
    assert cut == whole
    assert whole[:100] == TEXT[:100]
    assert whole != TEXT


def test_text_with_a_high_bit_is_no_text() -> None:
    for seed in range(50):
        with pytest.raises(UnicodeDecodeError):
            Damage(seed, spared=0, gap=3, bits=HIGH_BIT).applied(TEXT).decode()
