"""Words of ours in a statement."""

from __future__ import annotations

from typing import Any

from django.db.models import Value


class Literal(Value):
    """A word as a part of the statement, not as a parameter. PostgreSQL plans a statement that it is often
    asked once for any parameter, and then uses no partial index.
    """

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[()]]:
        return f"'{self.value}'", ()
