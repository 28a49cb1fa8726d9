"""The built-in model, and what takes its place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from incidents.memory.embed import MAX_PASSAGES, MiniLM, OnnxFolder, get_embedder, passages, unit_rows
from incidents.memory.embed_openai import OpenAIEmbedder
from incidents.memory.errors import EmbeddingError


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


def test_vectors_are_of_unit_length(minilm: MiniLM) -> None:
    vectors = minilm.embed(["disk full", "", "x" * 5000])
    assert vectors.shape == (3, minilm.size)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_the_same_text_has_the_same_vector_whatever_is_beside_it(minilm: MiniLM) -> None:
    alone = minilm.embed(["the database refuses connections"])[0]
    beside = minilm.embed(["something much longer " * 20, "the database refuses connections"])[1]
    assert np.array_equal(alone, beside)


def test_what_means_the_same_is_nearer_than_what_does_not(minilm: MiniLM) -> None:
    asked, alike, other = minilm.embed(
        ["no space left on the volume", "the disk is full", "the certificate expires tomorrow"]
    )
    assert asked @ alike > asked @ other + 0.2


def test_a_model_that_is_not_the_tested_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MiniLM, "MODEL_SHA256", "0" * 64)
    with pytest.raises(EmbeddingError, match="SHA-256") as caught:
        MiniLM().embed(["text"])
    assert not caught.value.retryable


def test_the_tokenizer_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MiniLM, "TOKENIZER_SHA256", "0" * 64)
    with pytest.raises(EmbeddingError, match=r"tokenizer\.json"):
        MiniLM().embed(["text"])


def test_threads_share_one_model(minilm: MiniLM) -> None:
    wanted = minilm.embed(["disk full"])
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(np.array_equal(minilm.embed(["disk full"]), wanted)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_a_folder_with_a_model_gives_the_same_vectors(tmp_path: Path, minilm: MiniLM) -> None:
    for name, source in (("model.onnx", minilm._model), ("tokenizer.json", minilm._tokenizer)):
        (tmp_path / name).symlink_to(source)
    folder = OnnxFolder(tmp_path)
    assert np.array_equal(folder.embed(["disk full"]), minilm.embed(["disk full"]))
    assert folder.size == 384
    assert folder.name == f"{tmp_path.name}@{MiniLM.MODEL_SHA256[:12]}"


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_folder_without_a_usable_model_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
        (tmp_path / "tokenizer.json").symlink_to(MiniLM()._tokenizer)
    with pytest.raises(EmbeddingError) as caught:
        OnnxFolder(tmp_path).embed(["text"])
    assert not caught.value.retryable


def test_the_setting_chooses_once(settings: Settings, tmp_path: Path) -> None:
    assert get_embedder() is get_embedder()
    assert get_embedder().name == "all-MiniLM-L6-v2-int8"
    settings.EMBEDDING_MODEL = str(tmp_path)
    assert isinstance(get_embedder(), OnnxFolder)
    settings.EMBEDDING_MODEL = "openai:some-model"
    assert get_embedder().name == "openai:some-model"


def test_a_vector_without_a_direction_is_an_error() -> None:
    for bad in ([[0.0, 0.0]], [[float("nan"), 1.0]], [[float("inf"), 1.0]]):
        with pytest.raises(EmbeddingError):
            unit_rows(np.array(bad))


def test_short_text_is_one_passage() -> None:
    assert passages("a  b\n\nc") == ["a b c"]
    assert passages("") == [""]


def test_long_text_is_cut_at_spaces_and_overlaps() -> None:
    text = " ".join(f"word{number}" for number in range(500))
    pieces = passages(text, size=300)
    assert all(len(piece) <= 300 for piece in pieces)
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert all(before[-20:] in after for before, after in pairwise(pieces))
    assert {word for piece in pieces for word in piece.split()} >= set(text.split())


def test_endless_text_is_cut_off() -> None:
    assert len(passages("x" * 1_000_000)) == MAX_PASSAGES
    assert len(passages("x y " * 250_000)) == MAX_PASSAGES


class EmbeddingServer:
    """Answers /embeddings with `status` and `body`."""

    def __init__(self) -> None:
        self.status = 200
        self.body: dict[str, Any] | None = None
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(asked)
                body = json.dumps(server.body or server.vectors(asked["input"])).encode()
                self.send_response(server.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    @staticmethod
    def vectors(texts: list[str]) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": place, "embedding": [float(len(text)), 2.0, 0.0]}
            for place, text in enumerate(texts)
        ]
        return {
            "object": "list",
            "model": "m",
            "data": data,
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }


@pytest.fixture
def embeddings() -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_a_servers_vectors_are_scaled_and_in_order(embeddings: EmbeddingServer) -> None:
    embedder = OpenAIEmbedder("m", api_key="k", base_url=embeddings.url)
    vectors = embedder.embed([f"{'x' * length}" for length in range(1, 101)])
    assert vectors.shape == (100, 3)
    assert vectors[4] == pytest.approx(np.array([5, 2, 0]) / np.sqrt(29))
    assert [len(asked["input"]) for asked in embeddings.asked] == [64, 36]
    assert embedder.size == 3


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (404, False), (400, False), (500, True)])
def test_a_server_that_refuses_is_an_error(embeddings: EmbeddingServer, status: int, retryable: bool) -> None:
    embeddings.status, embeddings.body = status, {"error": {"message": "no"}}
    with pytest.raises(EmbeddingError) as caught:
        OpenAIEmbedder("m", api_key="k", base_url=embeddings.url).embed(["text"])
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "body",
    [
        EmbeddingServer.vectors([]),
        EmbeddingServer.vectors(["a", "b"]),
        {
            "object": "list",
            "model": "m",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.0, 0.0]}],
        },
    ],
)
def test_an_answer_with_too_few_or_zero_vectors_is_an_error(
    embeddings: EmbeddingServer, body: dict[str, Any]
) -> None:
    embeddings.body = body
    with pytest.raises(EmbeddingError):
        OpenAIEmbedder("m", api_key="k", base_url=embeddings.url).embed(["text"])


def test_a_server_that_is_away_is_an_error_that_may_pass() -> None:
    with pytest.raises(EmbeddingError) as caught:
        OpenAIEmbedder("m", api_key=None, base_url="http://127.0.0.1:9/v1").embed(["text"])
    assert caught.value.retryable
