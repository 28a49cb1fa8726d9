"""BM25 in process."""

from __future__ import annotations

import math
import random
import time

import pytest

from incidents.memory.lexical import K1, LEAST_ENTRIES, B, LexicalIndex


def best(index: LexicalIndex, *words: str, limit: int = 10) -> list[int]:
    scores = index.search(words, limit).scores
    return sorted(scores, key=lambda key: (-scores[key], key))


def test_the_entry_with_the_rarer_word_comes_first() -> None:
    index = LexicalIndex()
    index.add(1, ["disk", "full"])
    index.add(2, ["disk", "slow"])
    index.add(3, ["disk", "full", "raid"])
    assert best(index, "raid", "disk")[0] == 3


def test_a_score_is_what_the_formula_says() -> None:
    index = LexicalIndex()
    index.add(1, ["disk", "full", "disk"])
    index.add(2, ["net"])
    rarity = math.log(1 + (LEAST_ENTRIES - 1 + 0.5) / (1 + 0.5))
    wanted = rarity * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * 3 / 2))
    assert index.search(["disk"], 10).scores[1] == pytest.approx(wanted)


def test_entries_without_a_common_word_are_not_found_unless_asked_for() -> None:
    index = LexicalIndex()
    index.add(1, ["disk"])
    index.add(2, ["net"])
    assert index.search(["disk"], 10).scores.keys() == {1}
    assert index.search(["disk"], 10, also=[2, 77]).scores == {
        1: pytest.approx(3.5, abs=0.5),
        2: 0.0,
        77: 0.0,
    }


def test_the_limit_keeps_the_best() -> None:
    index = LexicalIndex()
    for key in range(50):
        index.add(key, ["disk"] * (key % 7 + 1) + ["other"] * 5)
    everything = index.search(["disk"], 50).scores
    kept = index.search(["disk"], 5).scores
    assert len(kept) == 5
    assert min(kept.values()) >= sorted(everything.values())[-5]


def test_adding_again_replaces() -> None:
    index = LexicalIndex()
    index.add(1, ["disk"])
    index.add(1, ["net"])
    assert len(index) == 1
    assert best(index, "disk") == []
    assert best(index, "net") == [1]


def test_what_is_removed_is_not_found_and_does_not_count() -> None:
    index, fresh = LexicalIndex(), LexicalIndex()
    for key in range(80):
        index.add(key, ["disk", f"only{key}"])
    for key in range(40):
        index.remove(key)
    for key in range(40, 80):
        fresh.add(key, ["disk", f"only{key}"])
    assert index.search(["disk", "only50"], 100) == fresh.search(["disk", "only50"], 100)
    index.remove(1000)
    assert len(index) == 40


def test_many_changes_give_what_a_fresh_index_gives() -> None:
    chance = random.Random(7)
    vocabulary = [f"w{number}" for number in range(60)]
    index = LexicalIndex()
    texts: dict[int, list[str]] = {}
    for _ in range(3000):
        key = chance.randrange(120)
        if chance.random() < 0.3:
            index.remove(key)
            texts.pop(key, None)
        else:
            texts[key] = chance.choices(vocabulary, k=chance.randrange(0, 20))
            index.add(key, texts[key])
    fresh = LexicalIndex()
    for key, text in texts.items():
        fresh.add(key, text)
    query = chance.choices(vocabulary, k=8)
    assert index.search(query, 500).scores == pytest.approx(fresh.search(query, 500).scores)


def test_an_empty_index_and_an_empty_query_find_nothing() -> None:
    index = LexicalIndex()
    assert index.search(["disk"], 10).scores == {}
    index.add(1, [])
    assert index.search(["disk"], 10).scores == {}
    assert index.search([], 10).ideal == 0.0


def test_ten_thousand_entries_answer_within_15_ms() -> None:
    chance = random.Random(3)
    vocabulary = [f"w{number}" for number in range(4000)]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    index = LexicalIndex()
    for key in range(10_000):
        index.add(key, chance.choices(vocabulary, weights, k=60))
    seconds = []
    for _ in range(60):
        query = chance.choices(vocabulary, weights, k=30)
        started = time.perf_counter()
        index.search(query, 100)
        seconds.append(time.perf_counter() - started)
    # The median: other tests run beside this one, and their load is not ours to measure.
    assert sorted(seconds)[len(seconds) // 2] < 0.015
