"""What we find ourselves goes the road of any alert: an `Alert` when it is there, its end when it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from incidents.alertmanager import Alert, label_fingerprint
from incidents.episodes import as_alert
from incidents.models import Episode
from incidents.redaction import clean_tree


def firing(
    labels: Mapping[str, str], annotations: Mapping[str, str], condition: Mapping[str, Any] | None = None
) -> Alert:
    """`condition`: how the proof will see that it is over."""
    return Alert(
        fingerprint=label_fingerprint(labels),
        firing=True,
        labels=labels,
        annotations=clean_tree(annotations),
        starts_at=timezone.now(),
        ends_at=None,
        condition=condition,
    )


def over(episode: Episode) -> Alert:
    return as_alert(episode, ends_at=timezone.now())
