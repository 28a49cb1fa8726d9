"""The composition root. Importing it makes the Celery application the default one."""

from homelab.celery import app as celery_app

__all__ = ["celery_app"]
