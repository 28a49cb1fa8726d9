"""What can fail here; each says whether trying again later may help."""


class EmbeddingError(Exception):
    """No vector could be made. There is never a vector that stands for "failed"."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class MemoryUnavailable(Exception):
    """The index did not answer, or refused."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class CollectionMissing(MemoryUnavailable):
    """The Qdrant server answers and has no such collection: it is new, or it lost what it had."""

    def __init__(self) -> None:
        super().__init__("Qdrant has no such collection", retryable=True)


class ModelReplaced(MemoryUnavailable):
    """What is searched holds another model's vectors by now: embed again, with that one."""

    def __init__(self) -> None:
        super().__init__("the embedding model was replaced just now", retryable=True)
