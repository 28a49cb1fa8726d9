"""Every record from the configured database to another one, whole and proven, or nothing at all.

Both are read through the same models, so the copy does not depend on how an engine keeps a time or a JSON
value. Everything is written in one transaction, and kept only once both sides have the same fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from graphlib import TopologicalSorter
from itertools import batched_or_chunks
from typing import Any
