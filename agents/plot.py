"""A plot as SVG, from numbers alone; colours are the style sheet's.

Times are seconds since 1970, shown by the clock of `zone`. A value that is None is a gap, and stays one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Kind = Literal["began", "change", "cleared", "ended"]

NARROW = 480  # pixels: below this a plot is less high and has fewer words
TOP, BOTTOM, RIGHT = 30, 26, 18
CHARACTER = 7.5  # pixels, about, of the text on the axes
BADGE = 20  # pixels that the number of a mark takes
DAY = 86_400
TIME_STEPS = (
    *(5, 10, 15, 30),
    *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *(days * DAY for days in (1, 2, 7, 14, 30, 90)),
)
UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
GAPS_TOLD = 3
LEAST_SPAN = 1e-300  # floats have no steps within a smaller one
LEVEL = '<path class="grid" d="M{0} {2}H{1}"/><text class="level" x="{3}" y="{2}" dy=".32em">{4}</text>'
CLOCK = '<path class="grid" d="M{0} {1}v4"/><text class="clock" x="{0}" y="{2}">{3}</text>'
BAD = '<rect class="bad" x="{}" y="{}" width="{}" height="{}"/>'
LASTS = '<rect class="lasts" x="{}" y="{}" width="{}" height="{}"/>'
MARK = (
    '<g class="mark {0}">{1}<path d="M{2} 20L{3} 30V{4}"/><circle cx="{2}" cy="11" r="9"/>'
    '<text x="{2}" y="11" dy=".35em">{5}</text></g>'
)


@dataclass(frozen=True)
class Line:
    """One series: its value at the plot's start and after each step."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Mark:
    """Something that happened; with `until`, it lasted."""

    kind: Kind
    text: str
    at: float
    until: float | None = None


@dataclass(frozen=True)
class Plot:
    """What is drawn. `threshold`: what the lines are compared with; `side`: it is bad above (1) or below (-1)
    it, or neither is known to be (0).
    """

    name: str
    start: float
    end: float
    step: float
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    threshold: float | None = None
    side: int = 0

    @property
    def shown_marks(self) -> list[Mark]:
        """Those within the plot's time, in their order: their places are their numbers."""
        return sorted((each for each in self.marks if self.start <= each.at <= self.end), key=lambda m: m.at)

    def when(self, at: float, zone: tzinfo) -> str:
        """A time of day as people read it, to the second; with its day where the plot has more than one."""
        first, moment, last = (datetime.fromtimestamp(each, zone) for each in (self.start, at, self.end))
        day = "" if first.date() == last.date() else f"{moment.day} {moment:%b} "
        return f"{day}{moment:%H:%M:%S}"


@dataclass(frozen=True)
class Frame:
    """Where a time and a value are, in pixels."""

    plot: Plot
    width: float
    height: float
    left: float
    low: float
    high: float

    @property
    def right(self) -> float:
        return self.width - RIGHT

    @property
    def bottom(self) -> float:
        return self.height - BOTTOM

    def x(self, at: float) -> float:
        span = max(self.plot.end - self.plot.start, 1e-9)
        return round(self.left + (at - self.plot.start) / span * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        return round(self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - TOP), 1)


def svg(plot: Plot, *, width: int, zone: tzinfo) -> SafeString:
    """The plot, `width` pixels wide where it is not scaled."""
    low, high = _extent(plot)
    levels = list(_nice(low, high))
    left = round(10 + CHARACTER * max((len(short(each)) for each in levels), default=1), 1)
    frame = Frame(plot, width, 200 if width < NARROW else 260, left, low, high)
    return format_html(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-labelledby="plot-title plot-desc">'
        '<title id="plot-title">{}</title><desc id="plot-desc">{}</desc>{}{}{}{}{}</svg>',
        frame.width,
        frame.height,
        plot.name,
        describe(plot, zone),
        _scale(frame, levels),
        _clock(frame, zone),
        _threshold(frame),
        _lines(frame),
        _marks(frame),
    )


def describe(plot: Plot, zone: tzinfo) -> str:
    """What the plot shows, in words, for who cannot see it."""
    said = [f"From {plot.when(plot.start, zone)} to {plot.when(plot.end, zone)}."]
    for line in plot.lines:
        known = [value for value in line.values if value is not None]
        if known:
            said.append(
                f"{line.name}: from {short(min(known))} to {short(max(known))}, last {short(known[-1])}."
            )
        gaps = [f"{plot.when(begin, zone)} to {plot.when(end, zone)}" for begin, end in _gaps(plot, line)]
        if gaps:
            more = f" and {len(gaps) - GAPS_TOLD} times more" if len(gaps) > GAPS_TOLD else ""
            said.append(f"No samples {', '.join(gaps[:GAPS_TOLD])}{more}.")
    if plot.threshold is not None:
        said.append(f"Threshold {short(plot.threshold)}.")
    said += [f"{plot.when(mark.at, zone)}: {mark.text}." for mark in plot.shown_marks]
    return " ".join(said)


def short(value: float) -> str:
    """`1.5M`, `0.25`, `-3k`."""
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _extent(plot: Plot) -> tuple[float, float]:
    """The lowest and the highest value to show, with some air; with 0 where that is not far."""
    values = [value for line in plot.lines for value in line.values if value is not None]
    values += [plot.threshold] if plot.threshold is not None else []
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-200):
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (-1.0, 1.0)
    if high - low < LEAST_SPAN:
        low, high = -1.0, 1.0
    if 0 < low <= high - low:
        low = 0.0
    air = (high - low) * 0.06
    return low - air, high + air


def _nice(low: float, high: float, most: int = 5) -> Iterator[float]:
    """Round numbers between two, about `most`."""
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(each for each in (1, 2, 5, 10) if size * each >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    for number in range(first, min(last, first + 2 * most) + 1):
        yield number * step


def _scale(frame: Frame, levels: Sequence[float]) -> SafeString:
    rows = ((frame.left, frame.right, frame.y(each), frame.left - 6, short(each)) for each in levels)
    return format_html_join("", LEVEL, rows)


def _clock(frame: Frame, zone: tzinfo) -> SafeString:
    """Times on round minutes and hours, as far apart as their words need."""
    plot, room = frame.plot, (frame.right - frame.left) / (10 * CHARACTER)
    span = plot.end - plot.start
    longest = TIME_STEPS[-1] * math.ceil(span / room / TIME_STEPS[-1])
    step = next((each for each in TIME_STEPS if span / each <= room), longest)
    ahead = datetime.fromtimestamp(plot.start, zone).utcoffset()
    offset = ahead.total_seconds() if ahead else 0.0
    first = math.ceil((plot.start + offset) / step) * step - offset
    times = [first + number * step for number in range(int((plot.end - first) // step) + 1)]
    rows = ((frame.x(at), frame.bottom, frame.height - 8, _tick(at, step, zone)) for at in times)
    return format_html_join("", CLOCK, rows)


def _tick(at: float, step: float, zone: tzinfo) -> str:
    """A day at midnight, else the time of day."""
    moment = datetime.fromtimestamp(at, zone)
    if step >= DAY or (moment.hour, moment.minute, moment.second) == (0, 0, 0):
        return f"{moment.day} {moment:%b}"
    return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"


def _threshold(frame: Frame) -> SafeString:
    """The line that the alert compares with, and the side of it that is bad."""
    threshold, side = frame.plot.threshold, frame.plot.side
    if threshold is None:
        return SafeString("")
    y, width = frame.y(threshold), round(frame.right - frame.left, 1)
    top, height = (TOP, y - TOP) if side > 0 else (y, frame.bottom - y)
    bad = format_html(BAD, frame.left, top, width, round(height, 1)) if side else ""
    return format_html('{}<path class="threshold" d="M{} {}H{}"/>', bad, frame.left, y, frame.right)


def _lines(frame: Frame) -> SafeString:
    rows = ((number, _path(frame, line)) for number, line in enumerate(frame.plot.lines))
    return format_html_join("", '<path class="line line{}" d="{}"/>', rows)


def _path(frame: Frame, line: Line) -> str:
    """Connected where samples follow each other; one that stands alone is a dot."""
    parts, pen = [], "M"
    for number, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        alone = pen == "M" and (number + 1 == len(line.values) or line.values[number + 1] is None)
        x = frame.x(frame.plot.start + number * frame.plot.step)
        parts.append(f"{pen}{x} {frame.y(value)}{'h0' if alone else ''}")
        pen = "L"
    return "".join(parts)


def _marks(frame: Frame) -> SafeString:
    """A line at each moment that counts, with its number on top: numbers that would cover each other move."""
    marks = frame.plot.shown_marks
    places = _apart([frame.x(mark.at) for mark in marks], frame.left, frame.right)
    rows = (
        (mark.kind, _lasting(frame, mark), place, frame.x(mark.at), frame.bottom, number)
        for number, (mark, place) in enumerate(zip(marks, places, strict=True), start=1)
    )
    return format_html_join("", MARK, rows)


def _lasting(frame: Frame, mark: Mark) -> SafeString | str:
    if mark.until is None:
        return ""
    x, end = frame.x(mark.at), frame.x(min(mark.until, frame.plot.end))
    return format_html(LASTS, x, TOP, max(2.0, round(end - x, 1)), frame.bottom - TOP)


def _apart(places: list[float], left: float, right: float) -> list[float]:
    """The same places in the same order, at least BADGE apart where there is room for that."""
    room = min(BADGE, (right - left) / max(1, len(places)))
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + room) if moved else place)
    for number in range(len(moved) - 1, -1, -1):
        limit = moved[number + 1] - room if number + 1 < len(moved) else right
        moved[number] = round(min(moved[number], limit), 1)
    return moved


def _gaps(plot: Plot, line: Line) -> list[tuple[float, float]]:
    """From when to when a series has no samples."""
    found: list[tuple[float, float]] = []
    for number, value in enumerate(line.values):
        at = plot.start + number * plot.step
        if value is not None:
            continue
        if found and at - found[-1][1] <= plot.step * 1.5:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found
