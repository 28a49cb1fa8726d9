"""BM25 in process."""

from __future__ import annotations

import math
import random

import pytest

from incidents.memory.lexical import (
    K1,
    USUAL_LENGTH,
    B,
    LexicalIndex,
    document_weights,
    ideal,
    query_weights,
    word_id,
)


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
    index.add(1, ["sda", "nas", "sda"])
    index.add(2, ["eth"])
    rarity = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    wanted = rarity * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * 3 / USUAL_LENGTH))
    assert index.search(["sda"], 10).scores[1] == pytest.approx(wanted)


def test_a_score_is_the_product_of_what_a_server_is_given() -> None:
    documents = {1: ["disk", "full", "disk"], 2: ["volume", "slow"], 3: ["net"]}
    asked = ["disk", "disk", "full", "missing"]
    index = LexicalIndex()
    for key, cut in documents.items():
        index.add(key, cut)
    scores = index.search(asked, 10, also=documents).scores
    weights = {key: document_weights(cut) for key, cut in documents.items()}
    for key in documents:
        wanted = 0.0
        for word, weight in query_weights(asked).items():
            holding = sum(word in each for each in weights.values())
            rarity = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
            wanted += weight * rarity * weights[key].get(word, 0.0)
        assert scores[key] == pytest.approx(wanted, rel=1e-5)


def test_a_word_of_the_same_family_counts_less_than_the_word_and_more_than_nothing() -> None:
    index = LexicalIndex()
    index.add(1, ["target", "disappear"])
    index.add(2, ["target", "unreachabl"])
    index.add(3, ["target", "backup"])
    scores = index.search(["disappear"], 10, also=[1, 2, 3]).scores
    assert scores[1] > scores[2] > scores[3] == 0.0


def test_an_entry_that_alone_holds_the_query_reaches_the_ideal_whatever_the_size() -> None:
    for others in (2, 200):
        index = LexicalIndex()
        index.add(0, ["sda", "nas", *(f"filler{number}" for number in range(USUAL_LENGTH - 2))])
        for key in range(1, others):
            index.add(key, [f"only{key}"])
        hits = index.search(["sda", "nas"], 10)
        assert hits.scores[0] == pytest.approx(hits.ideal)
        assert hits.ideal == ideal(query_weights(["sda", "nas"]), others)


def test_a_word_said_often_in_the_query_is_dampened() -> None:
    weights = query_weights(["sda", "sda", "sda", "sda", "nas"])
    assert weights["nas"] == 1.0
    assert 1.0 < weights["sda"] < 2.0


def test_a_words_id_is_the_same_for_ever() -> None:
    assert word_id("disk") == 868_066_701
    assert len({word_id(f"w{number}") for number in range(5000)}) == 5000


def test_entries_without_a_common_word_are_not_found_unless_asked_for() -> None:
    index = LexicalIndex()
    index.add(1, ["sda"])
    index.add(2, ["eth"])
    assert index.search(["sda"], 10).scores.keys() == {1}
    assert index.search(["sda"], 10, also=[2, 77]).scores == {
        1: pytest.approx(1.0, abs=0.7),
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
