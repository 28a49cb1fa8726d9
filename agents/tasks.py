"""Celery tasks of the crew. Each takes a primary key; what it does is decided by the row."""

from __future__ import annotations

from celery import shared_task

from agents import advance as machine
from agents import chart, contested, services, stranded
from agents.models import Chart, Step
from incidents import turns
from incidents.queue import sweep


@shared_task
def advance(pk: int) -> None:
    machine.advance(pk)


@shared_task
def start_runs(*incident_ids: int) -> None:
    for incident_id in incident_ids:
        services.start_run(incident_id)


@shared_task
def settle_contested(episode_id: int) -> None:
    contested.settle_in_turn(episode_id)


@shared_task
def keep_chart(pk: int) -> None:
    chart.keep(pk)


@shared_task
def sweep_crew() -> None:
    """Repeat the hints of steps that wait; begin and settle what a lost signal left."""
    if not turns.take_sweep("sweep_crew"):
        return
    sweep(Step)
    sweep(Chart)
    machine.start_waiting_runs()
    stranded.settle_all()
    contested.hint_due()
