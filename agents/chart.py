"""What an alert's expression was before, during and after its incident.

Of an open incident Prometheus is asked when somebody looks. Of one that is over the points are kept, some
time after its end: Prometheus forgets them. A comparison has no value where it is false, so what is compared
is plotted, beside what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from agents import cases, promql, transcript
from agents.models import Action, Chart
from agents.plot import Kind, Line, Mark, Plot
from agents.reading import Identity
from agents.tools.base import ToolError
from agents.tools.prometheus_alert import Question, question_of
from agents.tools.prometheus_client import OneLook, Series
from agents.tools.prometheus_text import metric
from incidents.counts import PROVED
from incidents.models import Episode, Incident
from incidents.queue import State, anew, working
from incidents.redaction import clean, clean_tree
from incidents.wording import standing

LOOK_SECONDS = 3.0  # a person waits for it
KEEP_SECONDS = 20.0
MOST_POINTS = 240
LEAST_STEP = 5.0
MOST_SERIES = 4
MOST_ALERTS = 20
LARGEST = 1e300  # beyond it a plot has no scale
# What is shown before the alert's start and after its end: a quarter of what it lasted, within these.
AROUND = (timedelta(minutes=5), timedelta(hours=1))
LONGEST = timedelta(days=90)  # a sender may write any start
LATE = timedelta(seconds=30)  # until the last samples are in
AGAIN_SECONDS = 300.0
GIVE_UP = timedelta(days=1)
NO_PROMETHEUS = "PROMETHEUS_URL is not set, so there is nothing to plot."


@dataclass(frozen=True)
class Signal:
    """The points of an expression's series, each with a value a step or None. `more` were left out."""

    expression: str
    measured: str
    threshold: float | None
    side: int
    start: float
    end: float
    step: float
    series: tuple[tuple[str, tuple[float | None, ...]], ...]
    more: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Signal:
        return cls(**{**kept, "series": tuple((name, tuple(values)) for name, values in kept["series"])})


def window(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """From when to when an incident is plotted; of one that is over also after now."""
    over = incident.closed_at or now
    lasted = max(over - incident.started_at, timedelta(0))
    around = min(max(lasted / 4, AROUND[0]), AROUND[1])
    return over - min(lasted + around, LONGEST), over + (around if incident.closed_at else timedelta(0))


def kept(incident: Incident) -> Signal | None:
    """The points as they were kept, of an incident that is over."""
    if incident.verdict is None:
        return None
    rows = Chart.objects.filter(incident=incident, state=State.DONE, points__isnull=False)
    points = rows.values_list("points", flat=True).first()
    return Signal.from_json(points) if points else None


def read(incident: Incident, *, seconds: float = LOOK_SECONDS) -> Signal:
    """The points as Prometheus has them now, within `seconds`. ToolError: why there are none."""
    if settings.PROMETHEUS_URL is None:
        raise ToolError(NO_PROMETHEUS)
    now = timezone.now()
    begin, over = window(incident, now)
    start, end = begin.timestamp(), min(over, now).timestamp()
    alerts = list(incident.episodes.order_by("id")[:MOST_ALERTS])
    alert = min(alerts, key=lambda each: (each.target_id != incident.target_id, each.pk), default=None)
    if alert is None:
        raise ToolError("the incident has no alert")
    client = OneLook(settings.PROMETHEUS_URL, seconds=seconds, deadline=seconds)
    question = question_of(
        client,
        alert_name=alert.alert_name,
        labels=alert.labels,
        expression=cases.expression_of(alert),
        ended=alert.ends_at is not None,
    )
    compared = promql.comparison(question.expression)
    measured = compared.measured if compared else question.expression
    threshold = compared.threshold if compared and _has_place(compared.threshold) else None
    step = max(LEAST_STEP, math.ceil((end - start) / MOST_POINTS))
    rows = client.range(measured, start=start, end=end, step=step)
    own = _own(rows, alerts, question)
    if not own:
        raise ToolError("Prometheus has no samples of this alert's own series from then")
    names = _names(own)
    return Signal(
        expression=clean(question.expression),
        measured=clean(measured.replace("{}", "")),  # as the parser writes a name alone
        threshold=threshold,
        side=compared.side if compared and threshold is not None else 0,
        start=start,
        end=end,
        step=step,
        series=tuple(
            (name, _values(row, start, end, step))
            for name, row in zip(names[:MOST_SERIES], own, strict=False)
        ),
        more=max(0, len(own) - MOST_SERIES),
    )


def _own(rows: Sequence[Series], alerts: Sequence[Episode], question: Question) -> list[Series]:
    """The rows that are about one of the alerts: what others of the same rule did is not this incident's."""
    alike = [each for each in alerts if cases.expression_of(each) in (None, question.expression)]
    identities = [Identity(each.labels, question.rule_labels) for each in alike or alerts]
    return [row for row in rows if any(each.is_of(row.labels) for each in identities)]


def _names(rows: Sequence[Series]) -> list[str]:
    """What tells the series apart; of a single one its whole name."""
    if len(rows) == 1:
        return [clean(metric(rows[0].labels))]
    labels = [clean_tree(dict(row.labels)) for row in rows]
    differing = {
        key for each in labels for key in each if any(other.get(key) != each[key] for other in labels)
    }
    return [
        ", ".join(f"{key}={each[key]}" for key in sorted(differing) if key in each) or "the rest"
        for each in labels
    ]


def _has_place(value: float) -> bool:
    """On a scale: no infinity, no NaN, which is less than nothing."""
    return abs(value) < LARGEST


def _values(row: Series, start: float, end: float, step: float) -> tuple[float | None, ...]:
    """A value for each step; None where there is no sample, or one that has no place on a scale."""
    values: list[float | None] = [None] * (int((end - start) // step) + 1)
    for at, value in row.points:
        place = round((at - start) / step)
        if 0 <= place < len(values) and _has_place(value):
            values[place] = value
    return tuple(values)


def plot(incident: Incident, signal: Signal) -> Plot:
    """The points with what was done and when it was over."""
    return Plot(
        name=signal.measured,
        start=signal.start,
        end=signal.end,
        step=signal.step,
        lines=tuple(Line(name, values) for name, values in signal.series),
        marks=tuple(_marks(incident)),
        threshold=signal.threshold,
        side=signal.side,
    )


def _marks(incident: Incident) -> list[Mark]:
    marks = [Mark("began", "the alert began", incident.started_at.timestamp())]
    for action in Action.objects.changes().filter(incident=incident).select_related("target").order_by("id"):
        assert action.executing_at is not None
        until = action.finished_at.timestamp() if action.finished_at else None
        said = f"{action}: {action.get_status_display()}"
        marks.append(Mark("change", said, action.executing_at.timestamp(), until))
    if incident.closed_at is None:
        return marks
    proved = incident.verdict in PROVED
    # since when the last look saw it clear, by this machine's clock
    if proved and (cleared := transcript.last_look(incident).get("cleared_since")) is not None:
        marks.append(Mark("cleared", "clear again", cleared))
    kind: Kind = "cleared" if proved else "ended"
    return [*marks, Mark(kind, standing(incident), incident.closed_at.timestamp())]


def keep_later(incident_id: int) -> None:
    """Put a closed incident's chart on its way, in the caller's transaction; anew when it ended again."""
    if settings.PROMETHEUS_URL is None:
        return
    begin = {**anew(), "due_at": timezone.now() + AROUND[0] + LATE}
    Chart.objects.bulk_create(
        [Chart(incident_id=incident_id, **begin)],
        update_conflicts=True,
        unique_fields=["incident"],
        update_fields=list(begin),
    )


def keep(pk: int) -> None:
    """Read a chart that is due, and keep it; later when the end is not long ago enough, or nobody answers."""
    row: Chart | None = Chart.queue.claim(pk)
    if row is None:
        return
    with working(row):
        incident = row.incident
        if incident.closed_at is None:  # it came back, and its next end will ask again
            row.finish(why="the incident is open again", points=None)
            return
        now = timezone.now()
        ready = window(incident, now)[1] + LATE
        if now < ready:
            row.postpone(seconds=(ready - now).total_seconds())
            return
        try:
            signal = read(incident, seconds=KEEP_SECONDS)
        except ToolError as error:
            why = clean(str(error))
            if error.retryable and now < ready + GIVE_UP:
                row.postpone(seconds=AGAIN_SECONDS, error=why)
            else:
                row.finish(why=why, points=None)
            return
        row.finish(points=signal.as_json(), read_at=now)
