"""How well recall finds what it should, on documents and queries of your own, and whether it says so when
what was asked for is not there."""

from __future__ import annotations

import json
import math
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from incidents.memory.embed import get_embedder, passages
from incidents.memory.errors import EmbeddingError
from incidents.memory.fuse import ABSTAIN_BELOW, Candidate
from incidents.memory.index import Index
from incidents.memory.store import Document

TOP = 10
REPORT_EVERY = 500


class Command(BaseCommand):
    help = (
        "Indexes documents as incidents are indexed, asks each query as recall asks, once more while its "
        "relevant documents are taken out, and prints the quality as JSON on the last line. "
        'Files are JSON lines: {"id", "text"} and {"id", "text", "relevant": [ids]}.'
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
            index, documents_by_id = self._build(texts)
            answers = [_ask(index, query, documents_by_id) for query in asked]
        except EmbeddingError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(score(answers)))

    def _build(self, texts: Sequence[dict[str, Any]]) -> tuple[Index, dict[Any, Document]]:
        """An index of its own, so that the memory in use is neither read nor touched, and what is in it."""
        index = Index.here()
        embedder = get_embedder()
        added: dict[Any, Document] = {}
        with index.load():
            for key, given in enumerate(texts):
                vectors = embedder.embed(passages(given["text"]))
                document = Document(key, key, "", given["text"], "", vectors, embedder.name)
                index.add([document])
                added[given["id"]] = document
                if (key + 1) % REPORT_EVERY == 0:
                    self.stderr.write(f"{key + 1} of {len(texts)} documents embedded")
        return index, added


@dataclass(frozen=True, slots=True)
class Answer:
    """To one query. `ranked`: ids, best first; `relevant`: those that should have come; `abstained`: whether
    nothing was sure enough; `abstained_without`: the same while the relevant ones were taken out."""

    ranked: Sequence[Any]
    relevant: Sequence[Any]
    seconds: float
    abstained: bool
    abstained_without: bool


def score(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Means over the queries. Of all times that it abstained `abstention_precision` had nothing to find (None
    when it never did), of all that had nothing to find it abstained at `abstention_recall`."""
    pairs = [(answer.ranked, answer.relevant) for answer in answers]
    rightly = sum(answer.abstained_without for answer in answers)
    wrongly = sum(answer.abstained for answer in answers)
    seconds = [answer.seconds for answer in answers]
    return {
        "recall_at_1": round(float(np.mean([_recall(found, wanted, 1) for found, wanted in pairs])), 4),
        "recall_at_5": round(float(np.mean([_recall(found, wanted, 5) for found, wanted in pairs])), 4),
        "ndcg_at_10": round(float(np.mean([_ndcg(found, wanted) for found, wanted in pairs])), 4),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1000, 2),
        "abstention_precision": round(rightly / (rightly + wrongly), 4) if rightly + wrongly else None,
        "abstention_recall": round(rightly / len(answers), 4),
    }


def _recall(found: Sequence[Any], wanted: Sequence[Any], depth: int) -> float:
    return len(set(found[:depth]) & set(wanted)) / len(set(wanted))


def _ndcg(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    gains = [1 / math.log2(place + 2) for place in range(TOP)]
    reached = sum(gain for gain, key in zip(gains, found, strict=False) if key in wanted)
    return reached / sum(gains[: len(set(wanted))])


def _ask(index: Index, query: dict[str, Any], documents: dict[Any, Document]) -> Answer:
    """Ask it as it is, then while what is relevant is really out of the index: no word of it counts."""
    started = time.perf_counter()
    candidates = index.search(query["text"]).candidates
    seconds = time.perf_counter() - started
    ids = {document.key: given for given, document in documents.items()}
    relevant = [documents[given] for given in set(query["relevant"]) if given in documents]
    for document in relevant:
        index.remove(document.key)
    without = index.search(query["text"]).candidates
    if relevant:
        index.add(relevant)
    return Answer(
        ranked=[ids[candidate.key] for candidate in candidates[:TOP]],
        relevant=query["relevant"],
        seconds=seconds,
        abstained=_abstains(candidates),
        abstained_without=_abstains(without),
    )


def _abstains(candidates: Sequence[Candidate]) -> bool:
    return all(candidate.confidence < ABSTAIN_BELOW for candidate in candidates)


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
