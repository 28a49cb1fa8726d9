"""How text of operations is cut into words for the lexical side.

How words are cut matters more for recall than the embedding does: `KubePodCrashLooping` must meet "pods are
crash looping", `node_filesystem_avail_bytes` must meet "filesystem", and `exit code 137` must stay one thing.
A compound is kept whole beside its parts, so an exact name still weighs most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

_TOKEN = re.compile(
    r"""
    0[xX][0-9A-Fa-f]+                            # error codes, 0x80070005
    | [A-Za-z0-9]+(?:[_\-./:][A-Za-z0-9]+)+      # metric_names, paths/of/files, host.names, a-b
    | [A-Za-z0-9]+
    """,
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"[_\-./:]+")
# KubeAPIErrors -> Kube, API, Errors; OOMKilled -> OOM, Killed; docker2 stays whole
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*|[0-9]+")
_ADDRESS = re.compile(r"\d+(?:\.\d+){2,}(?::\d+)?")  # IP address or version: its parts mean nothing
_NOISE = re.compile(r"\d{7,}|(?=.*\d)[0-9a-f]{12,}")  # times, serial numbers, container ids
_LONGEST_WHOLE = 60  # characters; a longer compound is a log line without spaces, not a name

_SIGNALS = {"137": "sigkill", "139": "sigsegv", "143": "sigterm"}


def _exit_code(found: re.Match[str]) -> str:
    code = found[1]
    return f" exit{code} exit {_SIGNALS.get(code, '')} "


# Blanks are possessive: three runs of them beside each other can share one long run in countless ways.
_EXIT_CODE = re.compile(
    r"\bexit(?:ed)?\s*+(?:with\s++)?(?:code|status)?\s*+[(:=]?\s*+(\d{1,3})\b\)?", re.IGNORECASE
)
# What people write in several words and programs in one; the program's word joins the people's.
_PHRASES = (
    (_EXIT_CODE, _exit_code),
    (re.compile(r"\bout[\s-]of[\s-]memory\b", re.IGNORECASE), " oom memory "),
    (re.compile(r"\bcrash[\s-]?loop", re.IGNORECASE), " crashloop crash loop"),
    (re.compile(r"\bno space left on device\b", re.IGNORECASE), " enospc space left device "),
    (re.compile(r"\bconnection refused\b", re.IGNORECASE), " econnrefused connection refused "),
    (re.compile(r"(?<=\d)\s*%"), " percent "),
)

# Words that carry no meaning of their own in an alert or a runbook. "No" and "not" do: no leader, not ready.
_STOP_WORDS = """
    about above after again all also am an and any are as at be because been before being between both but by
    can could did do does doing done each eg etc few for from further get gets got had has have having he her
    here how if in into is it its itself just let may me might more most must my nor of off on once only or
    other our out over own please same shall she should so some such than that the their them then there these
    they this those through to too under until up upon us use used uses using very was we were what when where
    whether which while who whom why will with within without would you your
"""
_STOP = frozenset(_STOP_WORDS.split())

# One spelling for what people abbreviate.
_SAME = {
    "auth": "authentication",
    "avail": "available",
    "cert": "certificate",
    "certs": "certificate",
    "cfg": "configuration",
    "conf": "configuration",
    "config": "configuration",
    "configs": "configuration",
    "conn": "connection",
    "conns": "connection",
    "db": "database",
    "dbs": "database",
    "dir": "directory",
    "err": "error",
    "errs": "error",
    "fs": "filesystem",
    "k8s": "kubernetes",
    "kube": "kubernetes",
    "mem": "memory",
    "msg": "message",
    "net": "network",
    "ns": "namespace",
    "pct": "percent",
    "pv": "persistentvolume",
    "pvc": "persistentvolumeclaim",
    "repl": "replication",
    "req": "request",
    "reqs": "request",
    "sec": "second",
    "secs": "second",
    "svc": "service",
    "temp": "temperature",
    "vol": "volume",
}

# What operations call the same thing in different words, a family a line; the first word names it. A word is
# in the first family that has it.
_FAMILIES = """
    down unreachable unavailable absent disappear missing dead offline lost inaccessible gone stop
    fail failure error fault faulty unsuccessful problem issue unable cannot
    slow slowly latency latencies duration delay lag percentile response
    restart crash crashloop flap reboot loop
    expire expired expiration expiry renew renewal rotate
    high exceed above overload excessive many over saturate saturation
    full exhaust exhaustion space fill capacity
    low below insufficient few little starve
    drop discard lose
    sync synchronise synchronize synchronisation synchronization skew drift clock ntp
    inode file
    disk drive volume device storage filesystem mount block
    reload load configuration bad invalid parse
    mismatch inconsistent inconsistency differ different divergent match consistent consistently
    pending wait queue stuck backlog
    cpu processor throttle core
    memory ram oom swap heap
    degraded unhealthy broken damage corrupt
    leader quorum election member
    replica replication
    schedule unschedulable placement
    ready unready readiness
    connect connection disconnect
    permission denied unauthorized forbidden authentication authorization credential token password
    network nic interface packet link
    kill evict eviction terminate
"""

_ENDINGS = ("ation", "ition", "ment", "ness", "ion", "ly")
_VOWEL = re.compile("[aeiouy]")


def words(text: str) -> list[str]:
    """Words of `text` in order, lower case and stemmed; repeated as often as they occur."""
    for pattern, joined in _PHRASES:
        text = pattern.sub(joined, text)
    found: list[str] = []
    for token in _TOKEN.findall(text):
        found += _cut(token)
    return found


@lru_cache(maxsize=20_000)
def _cut(token: str) -> tuple[str, ...]:
    """The words that one token stands for: itself when it is a compound, and its parts."""
    lower = token.lower()
    if lower.startswith("0x"):
        return (lower,)
    if _ADDRESS.fullmatch(lower):
        host, _, port = lower.partition(":")
        return (host, lower) if port else (host,)
    parts = [part.lower() for piece in _SEPARATOR.split(token) for part in _CAMEL.findall(piece)]
    kept = [stem(_SAME.get(part, part)) for part in parts if _means_something(part)]
    if len(parts) > 1 and len(token) <= _LONGEST_WHOLE:
        kept.insert(0, lower)
    return tuple(kept)


def families(words: Iterable[str]) -> list[str]:
    """The families of those of `words` that belong to one, as often as they occur. No word is spelled like a
    family."""
    names = _family_names()
    return [names[word] for word in words if word in names]


@cache
def _family_names() -> dict[str, str]:
    """The name of its family by stem."""
    names: dict[str, str] = {}
    for line in _FAMILIES.strip().splitlines():
        first, *others = line.split()
        for word in (first, *others):
            names.setdefault(stem(_SAME.get(word, word)), f"~{first}")
    return names


def _means_something(part: str) -> bool:
    if part in _STOP or _NOISE.fullmatch(part):
        return False
    return len(part) > 1 or part.isdigit()


def stem(word: str) -> str:
    """`word` without its common English endings; not a dictionary form, only the same for its relatives."""
    if len(word) < 4 or word[-1].isdigit():
        return word
    word = _without_plural(word)
    if word.endswith("ing") and len(word) > 5 and _VOWEL.search(word[:-3]):
        word = _undoubled(word[:-3])
    elif word.endswith("ed") and len(word) > 4 and _VOWEL.search(word[:-2]):
        word = _undoubled(word[:-2])
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    if word.endswith("y") and len(word) > 3:
        word = word[:-1] + "i"
    return word


def _without_plural(word: str) -> str:
    if word.endswith(("ies", "ied")) and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _undoubled(word: str) -> str:
    """`stopp` is `stop`, but `call`, `miss` and `buzz` keep both letters."""
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        return word[:-1]
    return word
