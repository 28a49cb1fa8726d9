"""What may end a trouble for good, from what is known and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from incidents.lasting import proposal

OOM = "docker:h/web ran out of memory and the kernel killed it (exit code 137, memory limit 268435456 bytes)."
EXITED = "docker:h/web exited with code 3 without anybody having stopped it."
DISK = "/var on nas has 3 % left and at the pace of the last hour is full in 2 hours."


def past(pk: int, **known: Any) -> dict[str, Any]:
    return {
        "incident_id": pk,
        "alert_name": "WebDown",
        "timestamp": f"2026-11-{10 + pk:02}T{3 * pk:02}:10:00Z",
        "verdict": "unknown",
        **known,
    }


def of(*, times: int = 3, **known: Any) -> str:
    return proposal([past(number + 1, **known) for number in range(times)])


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"root_cause": OOM}, "memory: raise its limit, or find what it leaks"),
        ({"root_cause": DISK}, "a disk that fills: keep less"),
        ({"description": "write /data: no space left on device"}, "a disk that fills"),
        ({"root_cause": EXITED}, "it ends by itself: look at its configuration"),
        ({"alert_name": "KubePodCrashLooping"}, "it ends by itself"),
    ],
)
def test_the_rules(known: dict[str, Any], words: str) -> None:
    assert f"3 of 3 are about {words}" in of(**known)


def test_the_figures_are_those_that_were_read_each_once() -> None:
    evidence = ["oom_killed: true", "memory_limit: 268435456", "status: exited"]
    said = of(root_cause=OOM, evidence=evidence)
    assert "Read: “oom_killed: true”; “memory_limit: 268435456”." in said
    assert "status: exited" not in said


def test_what_was_read_not_to_be_so_is_no_hint() -> None:
    assert "memory" not in of(root_cause=EXITED, evidence=["oom_killed: false", "exit_code: 3"])


def test_a_rule_needs_half_of_them() -> None:
    one = past(1, root_cause=OOM)
    assert "memory" not in proposal([one, past(2), past(3)]).replace(OOM, "")
    assert "2 of 4 are about memory" in proposal([one, past(2, root_cause=OOM), past(3), past(4)])


def test_what_clears_by_itself_soon_wants_a_slower_rule() -> None:
    said = of(verdict="cleared_before_action", resolution_time_seconds=240.0)
    assert "3 of 3 cleared by themselves, the slowest after 4m" in said
    assert "(`for:`)" in said
    assert "for:" not in of(verdict="cleared_before_action", resolution_time_seconds=3600.0)


def test_a_person_comes_first_and_is_not_contradicted() -> None:
    said = [past(3, root_cause=OOM), past(2, root_cause="bad cable", human_confirmed=True, note="see #9")]
    lines = proposal([*said, past(1, root_cause=OOM)]).splitlines()
    assert lines[:2] == ["A person says (#2): bad cable", "A person says (#2): see #9"]
    assert not any("same cause" in line for line in lines)


def test_what_they_share_is_said() -> None:
    done = [{"what": "restart container docker:h/web", "outcome": "verified"}]
    said = of(root_cause="the backup locks the table", actions=done)
    assert "The same cause was found 3 times: the backup locks the table" in said
    assert "restart container docker:h/web helped, and it came back: 3 times." in said


@pytest.mark.parametrize(
    ("times", "shared"),
    [
        (["13T23:50", "14T00:20", "15T00:05"], "23:50 to 00:20"),
        (["13T03:10", "14T03:40", "15T03:00"], "03:00 to 03:40"),
        (["13T03:10", "14T05:40", "15T03:00"], None),
        (["13T03:10", "13T03:40", "13T03:00"], None),  # of one day it says nothing
    ],
)
def test_the_time_of_day(times: list[str], shared: str | None, settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    said = proposal([past(pk, timestamp=f"2026-11-{each}:00Z") for pk, each in enumerate(times, start=1)])
    assert ("same time of day" in said) is (shared is not None)
    assert shared is None or shared in said


def test_nothing_is_invented() -> None:
    assert of() == "What they share is not known: no cause was found twice, and nothing was done twice."
    assert proposal([]) == ""
    assert proposal([{"incident_id": 1, "timestamp": "2026-11-10T03:00:00Z"}] * 3)  # of an older version
