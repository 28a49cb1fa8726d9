"""What past incidents teach: remembered in the database, embedded, found again by meaning and by words.

Cheap to import; the vector store and the embedding model are loaded at first use.
"""

from incidents.memory.compose import compose, signature, signature_of
from incidents.memory.errors import EmbeddingError, MemoryUnavailable
from incidents.memory.index import forget_index, get_index
from incidents.memory.load import fill, fill_in_background, refresh, status, wants_server
from incidents.memory.recall import Recalled, recall
from incidents.memory.renewal import rebuild
from incidents.memory.runbooks import Runbook, find_runbooks
from incidents.memory.sync import remember, sync

__all__ = [
    "EmbeddingError",
    "MemoryUnavailable",
    "Recalled",
    "Runbook",
    "compose",
    "fill",
    "fill_in_background",
    "find_runbooks",
    "forget_index",
    "get_index",
    "rebuild",
    "recall",
    "refresh",
    "remember",
    "signature",
    "signature_of",
    "status",
    "sync",
    "wants_server",
]
