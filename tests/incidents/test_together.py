"""Group commit: what arrives at the same moment is worked together, and nobody pays for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from incidents.together import Together
from tests.e2e.process import wait_until

WAIT = 10.0


class Slow:
    """Doubles numbers; the first call waits until it is let go, so that others gather behind it."""

    def __init__(self, bad: Callable[[Sequence[int]], Exception | None] = lambda items: None) -> None:
        self.calls: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self._bad = bad

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        if len(self.calls) == 1:
            self.begun.set()
            assert self.go.wait(WAIT)
        if (error := self._bad(items)) is not None:
            raise error
        return [2 * item for item in items]


def gathered(work: Slow, together: Together[int, int], count: int) -> list[int | Exception]:
    """What each of `count` threads gets, of which all but the first arrive while the first is worked."""

    def ask(item: int) -> int | Exception:
        try:
            return together.one(item)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        first = pool.submit(ask, 0)
        assert work.begun.wait(WAIT)
        others = [pool.submit(ask, item) for item in range(1, count)]
        wait_until(lambda: len(together._waiting) == count - 1, WAIT, "not all have arrived")
        work.go.set()
        return [each.result(WAIT) for each in (first, *others)]


def test_who_is_alone_does_not_wait() -> None:
    assert Together[int, int](lambda items: [2 * item for item in items], most=8).one(21) == 42


def test_what_gathers_is_one_call_and_each_gets_its_own_result() -> None:
    work = Slow()
    assert gathered(work, Together(work, most=8), 6) == [0, 2, 4, 6, 8, 10]
    assert work.calls[0] == [0]
    assert sorted(work.calls[1]) == [1, 2, 3, 4, 5]
    assert len(work.calls) == 2


def test_who_came_together_is_waited_for_the_next_time() -> None:
    work = Slow()
    together = Together(work, most=8, gather=1.0)
    gathered(work, together, 4)  # one, and the three that came meanwhile
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(together.one, item) for item in range(10, 13)]
        assert sorted(each.result(WAIT) for each in results) == [20, 22, 24]
    assert sorted(work.calls[2]) == [10, 11, 12]


def test_who_does_not_come_back_is_not_waited_for_long() -> None:
    work = Slow()
    together = Together(work, most=8, gather=0.05)
    gathered(work, together, 4)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(together.one, 10).result(WAIT) == 20
    assert together._expected == 1


def test_no_more_than_the_most_are_worked_at_once() -> None:
    work = Slow()
    gathered(work, Together(work, most=2), 6)
    assert max(map(len, work.calls)) == 2
    assert sorted(item for call in work.calls for item in call) == [0, 1, 2, 3, 4, 5]


def test_only_what_is_bad_is_refused() -> None:
    work = Slow(lambda items: ValueError("3") if 3 in items else None)
    results = gathered(work, Together(work, most=8), 6)
    assert [each for each in results if not isinstance(each, Exception)] == [0, 2, 4, 8, 10]
    assert isinstance(results[3], ValueError)


def test_what_would_fail_for_each_is_not_tried_for_each() -> None:
    class Away(ValueError):
        pass

    work = Slow(lambda items: Away())
    results = gathered(work, Together(work, most=8, hopeless=(Away,)), 6)
    assert all(isinstance(each, Away) for each in results)
    assert len(work.calls) == 2


def test_when_the_thread_that_works_is_ended_the_others_are_told() -> None:
    class Ended(BaseException):
        pass

    def ended(items: Sequence[int]) -> list[int]:
        raise Ended

    together: Together[int, int] = Together(ended, most=8)
    with pytest.raises(Ended):
        together.one(1)
    together._work = lambda items: [7 for _ in items]
    assert together.one(1) == 7  # nobody holds the turn for ever
