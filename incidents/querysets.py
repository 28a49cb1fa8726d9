"""Reads that compose."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models

if TYPE_CHECKING:
    from incidents.models import Episode, Incident  # noqa: F401 named in the bases below


class IncidentQuerySet(models.QuerySet["Incident"]):
    def unresolved(self) -> Self:
        return self.exclude(status="closed")

    def closed(self) -> Self:
        return self.filter(status="closed")

    def with_systems(self) -> Self:
        """Ready for `affected_systems` without a query a row."""
        return self.select_related("target").prefetch_related("episodes__target")

    def newest_first(self) -> Self:
        return self.order_by("-id")


class EpisodeQuerySet(models.QuerySet["Episode"]):
    def firing(self) -> Self:
        return self.filter(ends_at=None)

    def contested(self) -> Self:
        return self.filter(contested_at__isnull=False)

    def quiet_since(self, moment: datetime) -> Self:
        return self.filter(ends_at=None, last_seen_at__lt=moment)
