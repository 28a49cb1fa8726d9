"""gunicorn's configuration: `gunicorn -c python:homelab.gunicorn`. `make run` ends in it.

One process with threads in embedded mode, WEB_CONCURRENCY processes with REDIS_URL. Never `max_requests`
or `reload`: they would end the embedded worker in the middle of its tasks.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from homelab import listen

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")

wsgi_app = "homelab.wsgi:application"
# First of all: reading the settings reads `.env`, which may name the port and the address.
workers = listen.processes(embedded=settings.EMBEDDED)
bind = [listen.bind()]
worker_class = "gthread"
threads = 8
keepalive = 75  # Alertmanager, Prometheus and browsers keep their connection between requests
timeout = 60  # of the worker's main loop, not of a request: a slow machine takes long to import everything
graceful_timeout = 14  # running requests and tasks; tasks have 10 s of it
accesslog = None  # the middleware counts requests; lines come from what goes wrong
logger_class = "homelab.gunicorn.Quiet"
control_socket_disable = True
# A heartbeat file on a disk that stalls looks like a hung worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) and Path("/dev/shm").is_dir() else None  # noqa: S108
# Several processes count together, through files. Set before anything imports prometheus_client, and so it is
# imported by name below.
METRICS_DIR: Path | None = settings.DATA_DIR / "metrics" if workers > 1 else None
if METRICS_DIR:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_DIR)
logconfig_dict = {
    **settings.LOGGING,
    "loggers": {**settings.LOGGING["loggers"], "gunicorn.error": {"level": "INFO", "propagate": True}},
}


class Quiet(Logger):  # type: ignore[misc]
    """No line for a request. With `logconfig_dict` gunicorn would put one together, to log it nowhere."""

    def access(self, *_: object) -> None:
        pass


def on_starting(_arbiter: object) -> None:
    """Counts of a former start would be added to those of this one."""
    if METRICS_DIR:
        shutil.rmtree(METRICS_DIR, ignore_errors=True)
        METRICS_DIR.mkdir(parents=True)


def child_exit(_arbiter: object, worker: Worker) -> None:
    if METRICS_DIR:
        import_string("prometheus_client.multiprocess.mark_process_dead")(worker.pid)


def post_worker_init(worker: Worker) -> None:
    """After the fork and after Django's set-up, with gunicorn's signal handlers in place.

    Not `post_fork`: what is slow there delays the handlers, and a SIGTERM in that gap would be lost.
    By name: the module imports the models, which the arbiter, that reads this file, cannot.
    """
    import_string("homelab.embedded.start")(lambda: not worker.alive)
    import_string("homelab.connections.warm")(worker.tpool, threads)
    # What is loaded by now stays. Looking through it for garbage again and again was an eighth of a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def worker_exit(_arbiter: object, worker: Worker) -> None:
    """End for good: threads that hang must not keep the process.

    gunicorn also calls this in the arbiter (for a worker that is gone already) and after a failed boot,
    whose exit code it needs; neither has anything to stop.
    """
    if worker.pid != os.getpid() or not worker.booted:
        return
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C would break off the clean-up
    try:
        import_string("homelab.embedded.stop")()
    finally:
        os._exit(os.EX_OK if not worker.alive else os.EX_SOFTWARE)
