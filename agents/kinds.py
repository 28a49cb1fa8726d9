"""The kinds of change that exist. Apart from the models, so that settings can name them, too."""

from __future__ import annotations

from django.db.models import TextChoices


class ActionKind(TextChoices):
    """Everything that may ever be done to the world."""

    RESTART_CONTAINER = "restart_container", "restart container"
    START_CONTAINER = "start_container", "start container"
    STOP_CONTAINER = "stop_container", "stop container"
    CREATE_SILENCE = "create_silence", "silence the alert of"
    RUN_MAINTENANCE = "run_maintenance", "maintenance of"

    @property
    def mends(self) -> bool:
        """Whether it may remove a fault. A silence only keeps people from hearing of it."""
        return self is not ActionKind.CREATE_SILENCE


STARTS = (ActionKind.RESTART_CONTAINER, ActionKind.START_CONTAINER)
MENDING = tuple(kind for kind in ActionKind if kind.mends)
