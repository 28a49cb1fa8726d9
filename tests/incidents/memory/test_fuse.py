"""Two answers to one."""

from __future__ import annotations

import pytest

from incidents.memory.fuse import ABSTAIN_BELOW, confidence, fuse
from incidents.memory.lexical import Hits


def test_what_both_sides_like_comes_first() -> None:
    dense = {1: 0.70, 2: 0.72, 3: 0.30, 4: 0.31}
    hits = Hits({1: 9.0, 2: 1.0, 3: 8.0, 4: 0.5}, ideal=10.0)
    assert fuse(dense, hits)[0].key == 1


def test_by_how_much_one_is_better_counts_not_its_rank() -> None:
    dense = {1: 0.90, 2: 0.50, 3: 0.49, 4: 0.48}
    hits = Hits({1: 4.9, 2: 5.0, 3: 5.05, 4: 5.1}, ideal=10.0)
    assert fuse(dense, hits)[0].key == 1


def test_a_side_that_is_away_leaves_the_order_to_the_other() -> None:
    hits = Hits({1: 1.0, 2: 5.0}, ideal=6.0)
    assert [candidate.key for candidate in fuse(None, hits)] == [2, 1]
    assert [candidate.key for candidate in fuse({1: 0.9, 2: 0.1}, None)] == [1, 2]
    assert fuse(None, hits)[0].dense is None
    assert fuse({1: 0.9}, None)[0].lexical is None


def test_an_empty_answer_is_no_opinion() -> None:
    hits = Hits({1: 1.0, 2: 5.0}, ideal=6.0)
    assert [candidate.key for candidate in fuse({}, hits)] == [2, 1]
    assert fuse({}, hits)[0].confidence == fuse(None, hits)[0].confidence


def test_nothing_gives_nothing() -> None:
    assert fuse(None, None) == fuse({}, Hits({}, 0.0)) == []


def test_a_candidate_that_the_dense_side_left_out_counts_as_its_worst() -> None:
    found = {candidate.key: candidate for candidate in fuse({1: 0.9, 2: 0.2}, Hits({3: 1.0}, ideal=5.0))}
    assert found[3].dense is None
    assert found[3].confidence == pytest.approx(confidence(0.2, 0.2))


def test_a_single_candidate_and_equal_ones_are_ranked_without_dividing_by_zero() -> None:
    assert fuse({1: 0.5}, Hits({1: 3.0}, ideal=3.0))[0].rank == 0.0
    ranks = [candidate.rank for candidate in fuse({1: 0.5, 2: 0.5}, Hits({1: 3.0, 2: 3.0}, ideal=3.0))]
    assert ranks == [0.0, 0.0]


def test_of_equals_the_newer_comes_first() -> None:
    assert [candidate.key for candidate in fuse({1: 0.5, 2: 0.5}, None)] == [2, 1]


def test_noise_between_twins_is_not_blown_up() -> None:
    ranks = [candidate.rank for candidate in fuse({1: 0.9000, 2: 0.9001}, Hits({1: 9.0, 2: 9.0}, ideal=9.0))]
    assert max(ranks) - min(ranks) < 0.01


@pytest.mark.parametrize(
    ("dense", "lexical"), [(0.3, 0.1), (0.35, 0.14), (0.25, None), (None, 0.1), (None, None)]
)
def test_what_is_unlike_is_below_the_threshold(dense: float | None, lexical: float | None) -> None:
    assert confidence(dense, lexical) < ABSTAIN_BELOW


@pytest.mark.parametrize(
    ("dense", "lexical"), [(0.6, 0.8), (0.75, 0.4), (0.7, None), (None, 0.8), (0.9, 3.0)]
)
def test_what_is_alike_is_above_it(dense: float | None, lexical: float | None) -> None:
    assert ABSTAIN_BELOW < confidence(dense, lexical) <= 1.0
