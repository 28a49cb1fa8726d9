"""What past incidents teach: remembered in the database, embedded, found again by meaning and by words.

Cheap to import; the vector store and the embedding model are loaded at first use.
"""

from incidents.memory.errors import EmbeddingError, MemoryUnavailable
from incidents.memory.index import forget_index, get_index
from incidents.memory.load import fill, fill_in_background, rebuild, refresh, status
from incidents.memory.recall import Recalled, recall
from incidents.memory.sync import compose, remember, sync

__all__ = [
    "EmbeddingError",
    "MemoryUnavailable",
    "Recalled",
    "compose",
    "fill",
    "fill_in_background",
    "forget_index",
    "get_index",
    "rebuild",
    "recall",
    "refresh",
    "remember",
    "status",
    "sync",
]
