"""A plot is made of numbers alone: gaps stay gaps, and what it shows is said in words, too."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from agents.plot import Line, Mark, Plot, describe, short, svg

BERLIN = ZoneInfo("Europe/Berlin")
START = 1_700_000_000.0  # 23:13:20 in Berlin
SVG = "{http://www.w3.org/2000/svg}"


def a_plot(*values: float | None, **fields: Any) -> Plot:
    wanted = {"name": "up", "step": 60.0, "lines": (Line("up", tuple(values)),), **fields}
    return Plot(start=START, end=START + 60.0 * max(1, len(values) - 1), **wanted)


def drawn(plot: Plot, width: int = 600) -> ElementTree.Element:
    return ElementTree.fromstring(svg(plot, width=width, zone=BERLIN))


def path(plot: Plot) -> str:
    found = re.search(r'class="line line0" d="([^"]*)"', svg(plot, width=600, zone=BERLIN))
    assert found is not None
    return found[1]


def test_a_gap_stays_a_gap() -> None:
    pieces = [piece for piece in path(a_plot(1, 1, None, 0, 0)).split("M") if piece]
    assert [piece.count("L") for piece in pieces] == [1, 1]


def test_a_sample_that_stands_alone_is_a_dot() -> None:
    assert path(a_plot(None, 1, None)).endswith("h0")
    assert "h0" not in path(a_plot(1, 1))


def test_a_plot_without_any_sample_draws_no_line() -> None:
    assert path(a_plot(None, None)) == ""


def test_the_highest_value_is_above_the_lowest() -> None:
    heights = [float(each) for each in re.findall(r"[ML][\d.]+ ([\d.]+)", path(a_plot(1, 5, 3)))]
    assert heights[1] < heights[2] < heights[0]


def test_times_are_those_of_the_zone() -> None:
    texts = [each.text for each in drawn(a_plot(*[1.0] * 60)).iter("text")]
    assert "23:20" in texts
    assert "22:20" not in texts


def test_midnight_says_the_day() -> None:
    texts = [each.text for each in drawn(a_plot(*[1.0] * 180)).iter("text")]
    assert "15 Nov" in texts


def test_a_threshold_is_drawn_and_its_bad_side_shaded() -> None:
    classes = [each.get("class") for each in drawn(a_plot(1, 9, threshold=5.0, side=1)).iter()]
    assert "threshold" in classes
    assert "bad" in classes
    classes = [each.get("class") for each in drawn(a_plot(1, 0, threshold=0.0, side=0)).iter()]
    assert "threshold" in classes
    assert "bad" not in classes


def test_the_bad_side_of_a_limit_from_below_is_below_it() -> None:
    for side, above in ((1, True), (-1, False)):
        parts = list(drawn(a_plot(1, 9, threshold=5.0, side=side)).iter())
        bad = next(each for each in parts if each.get("class") == "bad")
        limit = next(each for each in parts if each.get("class") == "threshold")
        level = float(re.findall(r" ([\d.]+)H", limit.get("d") or "")[0])
        assert (float(bad.get("y") or 0) < level) is above


def marks(*moments: float) -> tuple[Mark, ...]:
    return tuple(Mark("change", f"at {moment}", START + moment) for moment in moments)


def test_marks_are_numbered_in_their_order_and_those_outside_are_left_out() -> None:
    plot = a_plot(*[1.0] * 10, marks=marks(300, -100, 60, 10_000))
    assert [mark.text for mark in plot.shown_marks] == ["at 60", "at 300"]
    groups = list(drawn(plot).iter("g"))
    assert [each.findtext("text") for each in groups] == ["1", "2"]


def test_numbers_of_marks_do_not_cover_each_other() -> None:
    plot = a_plot(*[1.0] * 10, marks=marks(500, 501, 502, 539, 540))
    places = [float(each.get("cx") or 0) for each in drawn(plot).iter("circle")]
    assert all(after - before >= 19.9 for before, after in pairwise(places))
    assert places[-1] <= 600


def test_what_lasted_is_as_wide_as_it_lasted() -> None:
    lasting = Mark("change", "restart", START + 60, START + 240)
    parts = list(drawn(a_plot(*[1.0] * 10, marks=(lasting,))).iter())
    assert float(next(each for each in parts if each.get("class") == "lasts").get("width") or 0) > 100


def test_it_is_told_in_words() -> None:
    plot = a_plot(1, 1, None, 0, 1, threshold=0.0, marks=(Mark("began", "the alert began", START + 60),))
    said = describe(plot, BERLIN)
    assert "From 23:13:20 to 23:17:20." in said
    assert "up: from 0 to 1, last 1." in said
    assert "No samples 23:15:20 to 23:15:20." in said
    assert "Threshold 0." in said
    assert "23:14:20: the alert began." in said
    root = drawn(plot)
    assert (root.get("role"), root.findtext("desc")) == ("img", said)
    assert root.findtext("title") == "up"


def test_over_several_days_a_time_has_its_day() -> None:
    plot = a_plot(*[1.0] * 60, marks=(Mark("ended", "over", START + 3000),))
    said = describe(plot, BERLIN)
    assert said.startswith("From 14 Nov 23:13:20 to 15 Nov 00:12:20.")
    assert "15 Nov 00:03:20: over." in said


def test_strangers_words_are_escaped_and_no_style_is_inline() -> None:
    text = svg(a_plot(1, 2, name='<script>"', marks=(Mark("began", "<b>", START),)), width=600, zone=BERLIN)
    assert "<script>" not in text
    assert "<b>" not in text
    assert "style=" not in text


@pytest.mark.parametrize(
    "values",
    [
        (0, 0),
        (5, 5),
        (-3, -3),
        (1e15, 1e15 + 1),
        (1e-300, 2e-300),
        (-1e299, 1e299),
        (0.1 + 0.2, 0.3),
        (7,),
        (5e-324,),
        (0, 1e-310),
    ],
)
def test_any_numbers_have_a_scale(values: tuple[float, ...]) -> None:
    levels = [each for each in drawn(a_plot(*values)).iter("text") if each.get("class") == "level"]
    assert 1 <= len(levels) <= 12


@pytest.mark.parametrize("seconds", [10, 600, 3600, 86_400, 40 * 86_400, 3000 * 86_400])
@pytest.mark.parametrize("width", [280, 1000])
def test_any_time_has_a_clock_that_is_legible(seconds: int, width: int) -> None:
    plot = Plot("up", START, START + seconds, seconds / 10, (Line("up", (1.0,) * 11),))
    places = [
        float(each.get("x") or 0) for each in drawn(plot, width).iter("text") if each.get("class") == "clock"
    ]
    assert len(places) <= width / 60
    assert all(after - before > 45 for before, after in pairwise(places))


def test_numbers_for_people() -> None:
    assert [short(each) for each in (0, 0.25, 1234, 1.5e6, -3e9, 1e18)] == [
        "0",
        "0.25",
        "1.234k",
        "1.5M",
        "-3G",
        "1000P",
    ]
