"""The Celery application. Tasks live in `incidents.tasks` and `agents.tasks`.

Beat sends two hints a second, and each expires: while the pool is busy they must not pile up, for one
sweep finds all that ten would have found. Several beats do no harm: a sweep takes its turn in the database.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

SWEEP_SECONDS = 1.0
SWEEP_EXPIRES = 5

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
app = Celery("homelab", fixups=["homelab.connections:fixup"])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    name: {"task": name, "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_EXPIRES}}
    for name in ("incidents.tasks.sweep_records", "agents.tasks.sweep_crew")
}


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """With a receiver here Celery leaves the loggers as Django's LOGGING set them up."""
