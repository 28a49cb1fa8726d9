"""How well recall finds what it should, on documents and queries of your own."""

from __future__ import annotations

import json
import math
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from incidents.memory.embed import get_embedder, passages
from incidents.memory.errors import EmbeddingError
from incidents.memory.index import Document, Index
from incidents.memory.store import Store

TOP = 10
REPORT_EVERY = 500


class Command(BaseCommand):
    help = (
        "Indexes documents as incidents are indexed, asks queries as recall asks, and prints the quality as "
        'JSON on the last line. Files are JSON lines: {"id", "text"} and {"id", "text", "relevant": [ids]}.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--documents", type=Path, required=True)
        parser.add_argument("--queries", type=Path, required=True)

    def handle(self, *, documents: Path, queries: Path, **options: Any) -> None:
        texts = _read(documents, ("id", "text"))
        asked = _read(queries, ("id", "text", "relevant"))
        if not asked:
            raise CommandError(f"{queries}: no queries")
        try:
            index = self._build(texts)
            ranked, seconds = _ask(index, asked, [text["id"] for text in texts])
        except EmbeddingError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(score(ranked, [query["relevant"] for query in asked], seconds)))

    def _build(self, texts: Sequence[dict[str, Any]]) -> Index:
        """An index of its own, so that the memory in use is neither read nor touched."""
        index = Index(Store.here())
        embedder = get_embedder()
        with index.load():
            for key, given in enumerate(texts):
                vectors = embedder.embed(passages(given["text"]))
                document = Document(key, key, "", given["text"], "", vectors)
                index.add_words([document])
                index.add_vectors([document], fresh=True)
                if (key + 1) % REPORT_EVERY == 0:
                    self.stderr.write(f"{key + 1} of {len(texts)} documents embedded")
        return index


def score(
    ranked: Sequence[Sequence[Any]], relevant: Sequence[Sequence[Any]], seconds: Sequence[float]
) -> dict[str, float]:
    """Means over the queries. `ranked`: ids, best first; `relevant`: the ids that should have come."""
    pairs = list(zip(ranked, relevant, strict=True))
    return {
        "recall_at_1": round(float(np.mean([_recall(found, wanted, 1) for found, wanted in pairs])), 4),
        "recall_at_5": round(float(np.mean([_recall(found, wanted, 5) for found, wanted in pairs])), 4),
        "ndcg_at_10": round(float(np.mean([_ndcg(found, wanted) for found, wanted in pairs])), 4),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1000, 2),
    }


def _recall(found: Sequence[Any], wanted: Sequence[Any], depth: int) -> float:
    return len(set(found[:depth]) & set(wanted)) / len(set(wanted))


def _ndcg(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    gains = [1 / math.log2(place + 2) for place in range(TOP)]
    reached = sum(gain for gain, key in zip(gains, found, strict=False) if key in wanted)
    return reached / sum(gains[: len(set(wanted))])


def _ask(
    index: Index, asked: Sequence[dict[str, Any]], ids: Sequence[Any]
) -> tuple[list[list[Any]], list[float]]:
    """The ids found for each query, best first, and the seconds each took."""
    ranked, seconds = [], []
    for query in asked:
        started = time.perf_counter()
        found = index.search(query["text"])
        seconds.append(time.perf_counter() - started)
        ranked.append([ids[candidate.key] for candidate in found.candidates[:TOP]])
    return ranked, seconds


def _read(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line. Raises CommandError with the line's number."""
    found: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except ValueError as error:
            raise CommandError(f"{path}, line {number}: {error}") from error
        if not isinstance(given, dict) or any(key not in given for key in keys):
            raise CommandError(f"{path}, line {number}: wants {', '.join(keys)}")
        if "relevant" in keys and not given["relevant"]:
            raise CommandError(f"{path}, line {number}: nothing is relevant")
        found.append(given)
    return found
