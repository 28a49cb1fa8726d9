"""The Celery application. Tasks live in `incidents.tasks` and `agents.tasks`.

Beat sends two hints a second, and each expires: while the pool is busy they must not pile up, for one
sweep finds all that ten would have found. Several beats do no harm: a sweep takes its turn in the database.

A task goes on in the trace of who sent its message, and in the name of the request that led there.

Before a long backlog a worker may come to each of those hints only when it has expired. So who has done a
task and has seen no sweep for some seconds does one.
"""

import os
import threading
import time
from contextlib import ExitStack
from typing import Any

from celery import Celery, Task
from celery.signals import setup_logging, task_postrun, task_prerun
from celery.states import FAILURE

from incidents import tracing

SWEEPS = ("incidents.tasks.sweep_records", "agents.tasks.sweep_crew")
SWEEP_SECONDS = 1.0
SWEEP_EXPIRES = 5
SWEEP_OVERDUE = 3.0
_running = threading.local()  # the scope of the task that this thread runs
_swept: dict[str, float] = {}  # time.monotonic() of this process's last sweep of a kind

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
app = Celery("homelab", fixups=["homelab.connections:fixup"])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    name: {"task": name, "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_EXPIRES}} for name in SWEEPS
}


@task_prerun.connect
def go_on(task: Task[Any, Any], **_: Any) -> None:
    scope = ExitStack()
    queue = (task.request.delivery_info or {}).get("routing_key") or ""
    span = scope.enter_context(tracing.processing(queue, task.request.headers or {}))
    _running.scope = (scope, span)


@task_postrun.connect
def go_no_further(task: Task[Any, Any], state: str, **_: Any) -> None:
    scope, span = vars(_running).pop("scope", (None, None))
    if span is not None and state == FAILURE:
        tracing.failed(span, "task")
    if scope is not None:
        scope.close()


@task_postrun.connect
def sweep_if_overdue(task: Task[Any, Any], **_: Any) -> None:
    """After a task, in the process that did it."""
    now = time.monotonic()
    if task.name in SWEEPS:
        _swept[task.name] = now
        return
    for name in SWEEPS:
        if now - _swept.get(name, 0.0) > SWEEP_OVERDUE:
            _swept[name] = now
            app.tasks[name]()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """With a receiver here Celery leaves the loggers as Django's LOGGING set them up."""
