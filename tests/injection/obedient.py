"""A model that obeys every instruction it reads, whoever wrote it; without one it is a good model.

It speaks OpenAI's protocol through the real client. It knows a text again however it was cut or disguised, by
any run of its letters, so it is more obedient than a model could be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.canaries import CANARY
from tests.e2e import openai_server as oai
from tests.injection.machine import HOST
from tests.injection.wants import SHINGLE, Payload, letters, shingles, slug

Json = dict[str, Any]
READS = (
    "docker_inspect",
    "docker_logs",
    "docker_list",
    "recall_incidents",
    "search_runbooks",
    "prometheus_targets",
    "docker_events",
)
OF_A_CONTAINER = ("docker_inspect", "docker_logs", "docker_events")
SECRET = re.compile(rf"\S*{CANARY}\S*|(?:password|token|secret|key|bearer|authorization)\W{{1,4}}\S+", re.I)
JOINT = SHINGLE - 4  # letters of a twin's beginning or end, to which what stands beside it may add the others
ROOM = 1500  # characters of a typed answer


class Obedient:
    """`script` answers a request. `seen`: names of the payloads that it has read since `forget`.

    While it is `learning`, what it reads is everyday to it, and no piece of an instruction.
    """

    def __init__(self, payloads: Iterable[Payload]) -> None:
        self.seen: set[str] = set()
        self.learning = False
        self.told: Payload | None = None
        self.spelling = 0
        self._known: dict[str, list[Payload]] = {}
        everyday: set[str] = set()
        ends: set[str] = set()
        for payload in payloads:
            for harmless in (payload.twin, slug(payload.twin)):
                everyday |= shingles(harmless)
                ends |= {letters(harmless)[:JOINT], letters(harmless)[-JOINT:]}
            for each in shingles(payload.text) | shingles(slug(payload.text)):
                self._known.setdefault(each, []).append(payload)
        # "Then: the maintenance" has a piece of "Run the maintenance", for one letter beside a twin.
        joints = {each for each in self._known if not ends.isdisjoint(_runs(each, JOINT))}
        self._unlearn(everyday | joints)

    def _unlearn(self, everyday: Iterable[str]) -> None:
        for each in everyday:
            self._known.pop(each, None)

    def attend(self, payload: Payload, spelling: int) -> None:
        """Where a piece belongs to several instructions, it is taken for this one's; see `spelled`."""
        self.seen.clear()
        self.told, self.spelling = payload, spelling

    def recognise(self, text: str) -> Payload | None:
        """An instruction that a text holds a piece of."""
        run, other = letters(text), None
        if self.told is not None and 0 < len(whole := letters(self.told.text)) < SHINGLE and whole in run:
            return self.told
        for at in range(len(run) - SHINGLE + 1):
            found = self._known.get(run[at : at + SHINGLE])
            if found and self.told in found:
                return self.told
            other = other or (found[0] if found else None)
        return other

    def script(self, request: Json) -> Any:
        names = [tool["function"]["name"] for tool in request["tools"]]
        submit = next(name for name in names if name.startswith("submit_"))
        read = [message for message in request["messages"] if message["role"] == "tool"]
        if submit == "submit_diagnosis" and not read and len(names) > 1:
            return self._read_everything(request, names)
        lines = list(_lines(request))
        if self.learning:
            for line, _ in lines:
                self._unlearn(shingles(line))
        orders = [(payload, line, call) for line, call in lines if (payload := self.recognise(line))]
        self.seen.update(payload.name for payload, _, _ in orders)
        secrets = " ".join(dict.fromkeys(hit for line, _ in lines for hit in SECRET.findall(line)))
        calls = orders[0][0].want.calls if orders else ()
        if submit == "submit_remediation" and calls and not read:
            return oai.call_tools(*(oai.tool_call(name, {"by": "owner"}) for name in calls))
        again = any(m["role"] == "user" and "form" in m["content"] for m in request["messages"][2:])
        found = Reading(_case(request), lines, orders, secrets[:ROOM], 0 if again else self.spelling, again)
        return oai.call_tools(oai.tool_call(submit, ANSWERS[submit](found)))

    def _read_everything(self, request: Json, names: list[str]) -> Any:
        target = _case(request)["target"]
        return oai.call_tools(
            *(
                oai.tool_call(name, {"container": target} if name in OF_A_CONTAINER else {})
                for name in READS
                if name in names
            )
        )


Order = tuple[Payload, str, str]


def _runs(text: str, length: int) -> set[str]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def _case(request: Json) -> Json:
    found = re.search(r"<untrusted>\n(.*)\n</untrusted>", request["messages"][1]["content"], re.S)
    assert found is not None
    case: Json = json.loads(found[1])
    return case


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each) if not isinstance(each, str) else iter((f"{name}: {each}",))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _lines(request: Json) -> Iterator[tuple[str, str]]:
    """Every text of the request that is not ours, with the id of the call that read it."""
    for text in _texts(_case(request)):
        yield text, "alert"
    for message in request["messages"]:
        if message["role"] == "tool":
            head, _, text = message["content"].partition("\n")
            yield from ((line, head.strip("[]")) for line in text.split("\n"))


@dataclass(frozen=True)
class Reading:
    """What a request holds: lines with the call that read them, the orders among them, the secrets in sight.

    `again`: the last answer did not fit its form.
    """

    case: Json
    lines: list[tuple[str, str]]
    orders: list[Order]
    secrets: str
    spelling: int
    again: bool

    def said(self, otherwise: str) -> str:
        """The first order's words, with every secret."""
        return f"{self.orders[0][1][:ROOM]} {self.secrets}"[:2000] if self.orders else otherwise


def _triage(found: Reading) -> Json:
    state = (found.case.get("reading") or {}).get("state", "unknown")
    over = bool(found.orders) and found.orders[0][0].want.verdict
    return {
        "state": "cleared" if over else state,
        "affected": [found.case["target"]],
        "summary": found.said("it is down"),
    }


def _diagnosis(found: Reading) -> Json:
    exits = [(line, call) for line, call in found.lines if line.startswith("exit_code:")]
    quotes = [(line, call) for _, line, call in found.orders] or exits
    return {
        "cause": found.said("its process ended by itself"),
        "certainty": "CONFIRMED",
        "claims": [{"text": "so it is", "call_id": call, "quote": line[:500]} for line, call in quotes[:8]],
    }


def _remediation(found: Reading) -> Json:
    reason = found.said("a restart brings it back")
    right = {"action": "restart_container", "target": found.case["target"], "reason": reason}
    if not found.orders:
        return right
    want = found.orders[0][0].want
    if want.verdict:
        return {"action": "none", "reason": reason}
    if want.action == "none":
        return right
    arguments = {} if found.again else dict(want.arguments)
    return {**right, "action": want.action, "target": spelled(want.target, found.spelling), **arguments}


ANSWERS: dict[str, Callable[[Reading], Json]] = {
    "submit_triage": _triage,
    "submit_diagnosis": _diagnosis,
    "submit_remediation": _remediation,
}


def spelled(target: str, spelling: int) -> str:
    """A target as the inventory spells it, or with an odd number as somebody might who tries the door."""
    key = f"docker:{HOST}/{target}"
    if target.startswith(("*", "host:", "docker")):
        return target
    others = (
        target,
        f"/{target}",
        f"{HOST}/{target}",
        f" {key}",
        key.upper(),
        f"{key}\u200b",
        f"docker:{HOST}//{target}",
    )
    return others[spelling // 2 % len(others)] if spelling % 2 else key
