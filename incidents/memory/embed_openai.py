"""Embeddings from an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openai
from openai.types import CreateEmbeddingResponse

from incidents.memory.embed import Vectors, unit_rows
from incidents.memory.errors import EmbeddingError

TIMEOUT_SECONDS = 30
BATCH = 64

# Trying again may help; a wrong key or an unknown model stays wrong until a person changes it.
_PASSING = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)


class OpenAIEmbedder:
    def __init__(self, model: str, *, api_key: str | None, base_url: str | None) -> None:
        self._model = model
        self._size: int | None = None
        # Local servers want no key; the SDK refuses to start without one.
        self._client = openai.OpenAI(
            api_key=api_key or "none", base_url=base_url, timeout=TIMEOUT_SECONDS, max_retries=1
        )

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    @property
    def size(self) -> int:
        """Of what the server gave last; it may be told to give another. Asked of it the first time."""
        return self._size or int(self.embed(["size"]).shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [self._batch(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        self._size = int(rows[-1].shape[1])
        return np.concatenate(rows)

    def _batch(self, texts: Sequence[str]) -> Vectors:
        answer = self._ask(texts)
        places = [item.index for item in answer.data]
        if places != list(range(len(texts))) or len({len(item.embedding) for item in answer.data}) != 1:
            raise EmbeddingError(
                f"{self.name}: asked for {len(texts)} vectors, got {len(places)}, or uneven ones",
                retryable=True,
            )
        return unit_rows(np.array([item.embedding for item in answer.data], dtype=np.float32))

    def _ask(self, texts: Sequence[str]) -> CreateEmbeddingResponse:
        try:
            return self._client.embeddings.create(
                model=self._model, input=list(texts), encoding_format="float"
            )
        except openai.OpenAIError as error:
            raise EmbeddingError(f"{self.name}: {error}", retryable=isinstance(error, _PASSING)) from error
        except ValueError as error:  # an answer that is not JSON
            raise EmbeddingError(f"{self.name}: {error}", retryable=True) from error
