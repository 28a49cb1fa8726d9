"""One connection to an own address, and none to anybody else's, whatever the labels say."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from agents import playbooks
from agents.answers import Diagnosis
from agents.loop import Brief, Observation, Request
from agents.reasoners.playbook import PlaybookReasoner
from agents.tools import REGISTRY, network
from agents.tools.base import Case, Result, ToolError

NOT_OURS = "not asked (not this machine)"


def case(instance: str | None, *, expression: str | None = None) -> Case:
    return Case(
        incident_id=1,
        alert_name="Anything",
        severity="warning",
        labels={} if instance is None else {"instance": instance},
        annotations={},
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        expression=expression,
    )


def ask(instance: str | None) -> Result:
    return REGISTRY["tcp_connect"].call(case(instance), {})


@pytest.fixture
def listening() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port that nobody listens on: just given back."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream connects to anything. A datagram socket may "connect": that sends nothing."""
    connect = _socket.socket.connect

    def only_datagrams(self: socket.socket, address: Any) -> None:
        assert self.type == socket.SOCK_DGRAM, f"connected to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_datagrams)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_a_listening_port_accepts(listening: int, host: str) -> None:
    found = ask(f"{host}:{listening}")
    assert found.text == f"address: {host}:{listening}\nresult: accepted"
    assert found.data == {"address": f"{host}:{listening}", "result": "accepted"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_a_closed_port_refuses(closed: int, host: str) -> None:
    assert ask(f"{host}:{closed}").data["result"] == "refused"


def test_localhost_is_both_of_its_addresses() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with closing(server):
        port = server.getsockname()[1]
        assert ask(f"localhost:{port}").data["result"] == "accepted"
        assert ask(f"[::1]:{port}").data["result"] == "accepted"


def test_a_port_whose_backlog_is_full_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DEADLINE", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as server:
        port = server.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port))]
        try:
            assert ask(f"127.0.0.1:{port}").data["result"] == "timed out"
        finally:
            for each in waiting:
                each.close()


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize(
    "instance",
    [
        "198.51.100.1:80",
        "8.8.8.8:53",
        "[2001:db8::1]:80",
        "[::ffff:198.51.100.1]:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "0.0.0.0:80",
        "[::]:80",
        "jellyfin:8096",
        "127.0.0.1.example.com:80",
        "localhost.example.com:80",
        "2130706433:80",
    ],
)
def test_another_machine_is_never_connected_to(instance: str) -> None:
    found = ask(instance)
    assert found.data["result"] == NOT_OURS
    assert found.text.endswith(f"result: {NOT_OURS}")


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize(
    "instance",
    [
        None,
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:ssh",
        "http://127.0.0.1:80/",
        "127.0.0.1:80/health",
        "someone@127.0.0.1:80",
        "[::1:80",
        "127.0.0.1:80\n",
    ],
)
def test_what_is_no_address_is_not_guessed_at(instance: str | None) -> None:
    with pytest.raises(ToolError, match="instance"):
        ask(instance)


@pytest.mark.usefixtures("no_connections")
def test_an_own_address_is_what_the_kernel_sends_from() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no route to anywhere")
        own = probe.getsockname()[0]
    assert network.is_own(own)
    assert network.is_own("127.0.0.1")
    assert network.is_own("::1")
    assert not network.is_own("198.51.100.1")
    assert not network.is_own("jellyfin")


def diagnose(about: Case, **readings: Mapping[str, object]) -> Diagnosis:
    seen = []
    for read in (read for book in playbooks.fitting(about) for read in book.reads(about)):
        if (data := readings.get(read.tool)) is not None:
            text = "\n".join(f"{key}: {value}" for key, value in data.items())
            seen.append(Observation(Request(read.tool, read.tool, read.arguments), text, text, dict(data)))
    answer = PlaybookReasoner().next_turn(Brief("analyst", about, Diagnosis), seen, final=True).answer
    return Diagnosis.model_validate(answer)


@pytest.mark.parametrize(
    ("result", "cause", "certainty"),
    [
        ("refused", "service_refuses.refused", "CONFIRMED"),
        ("timed out", "service_refuses.hangs", "LIKELY"),
        ("accepted", "service_refuses.accepted", "INCONCLUSIVE"),
        (NOT_OURS, "general.unknown", "INCONCLUSIVE"),
    ],
)
def test_the_playbook_says_what_the_connection_said(result: str, cause: str, certainty: str) -> None:
    found = diagnose(case("127.0.0.1:8096"), tcp_connect={"address": "127.0.0.1:8096", "result": result})
    assert (found.code, found.certainty) == (cause, certainty)
    if cause.startswith("service_refuses"):
        assert found.claims[-1].quote == f"result: {result}"


def test_the_playbook_leaves_alerts_of_a_prometheus_to_others() -> None:
    """Their `localhost` is the Prometheus's, which may be on another machine; and what they say is more."""
    refused = {"address": "localhost:9100", "result": "refused"}
    firing = {"state": "firing", "expression": "node_load5 > 4", "value": 7.2}
    about = case("localhost:9100", expression="node_load5 > 4")
    company = {"firing": 0}
    found = diagnose(about, tcp_connect=refused, alert_expression=firing, firing_on_target=company)
    assert found.code == "general.alone"
    by_name = diagnose(case("localhost:9100"), tcp_connect=refused, alert_expression=firing)
    assert by_name.code.startswith("general.")


@pytest.mark.parametrize(
    ("instance", "fits"),
    [
        ("127.0.0.1:80", True),
        ("localhost:80", True),
        ("[::1]:80", True),
        ("jellyfin:8096", False),
        ("127.0.0.1.example.com:80", False),
        ("localhost.example.com:80", False),
    ],
)
def test_the_playbook_is_for_own_addresses_only(instance: str, fits: bool) -> None:
    assert ("service_refuses" in {book.name for book in playbooks.fitting(case(instance))}) is fits
