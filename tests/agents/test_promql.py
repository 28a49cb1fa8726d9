"""What an expression asks for, from its text."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.promql import PromQLError, expression_of, longest_range, quote, selectors


@pytest.mark.parametrize(
    ("url", "expression"),
    [
        ("http://p:9090/graph?g0.expr=up%7Bjob%3D%22a+b%22%7D+%3D%3D+0&g0.tab=1", 'up{job="a b"} == 0'),
        ("https://p.example/prometheus/graph?g0.expr=sum%28a%29+%2B+b", "sum(a) + b"),
        ("/graph?g0.expr=up", "up"),
        ("http://p:9090/graph?g0.tab=1", None),
        ("http://p:9090/graph?g0.expr=", None),
        ("http://grafana/alerting/grafana/abc/view?orgId=1", None),
        ("http://[half/graph?g0.expr=up", None),
        ("", None),
        ("not a url", None),
    ],
)
def test_the_expression_comes_from_the_link(url: str, expression: str | None) -> None:
    assert expression_of(url) == expression


@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_any_expression_survives_the_link(expression: str) -> None:
    assert expression_of("http://p/graph?" + urlencode({"g0.expr": expression})) == expression


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ('up{job="a"} == 0', ['up{job="a"}']),
        ('absent(up{job="x"})', ['up{job="x"}']),
        ('absent_over_time(up{job="x"}[5m])', ['up{job="x"}']),
        ('time() - container_last_seen{name=~".+"} > 60', ['container_last_seen{name=~".+"}']),
        ("sum by (job) (rate(errs[5m])) > 5", ["errs"]),
        ("a / on (instance) group_left b > 0.9", ["a", "b"]),
        ("a unless b", ["a", "b"]),
        ("up offset 5m and up @ 100 and rate(up[5m] @ start())", ["up"]),
        ('max_over_time(rate(x{a!="1",b!~"2"}[5m] offset 1h)[2h:1m])', ['x{a!="1",b!~"2"}']),
        ('topk(scalar(k{z="1"}), up)', ['k{z="1"}', "up"]),
        ("quantile(0.9, x)", ["x"]),
        ("histogram_quantile(0.9, sum by (le) (rate(d_bucket[5m])))", ["d_bucket"]),
        ("-(x)", ["x"]),
        ('label_replace(up, "host", "$1", "instance", "(.*):.*") == 0', ["up"]),
        ('{__name__="up",job="a"}', ['{__name__="up",job="a"}']),
        ('{"my.metric", "a.b"="c"}', ['{__name__="my.metric","a.b"="c"}']),
        ("vector(1)", []),
        ("1 == bool 1", []),
        ("time() > bool 5", []),
    ],
)
def test_selectors(expr: str, found: list[str]) -> None:
    assert selectors(expr) == found


@given(st.text())
def test_a_matchers_value_is_quoted_again(value: str) -> None:
    """The parser's own text leaves quotes and newlines as they are; a selector must parse to itself."""
    selector = f"up{{a={quote(value)}}}"
    assert selectors(f"{selector} == 0") == [selector]


@pytest.mark.parametrize(
    ("expr", "seconds"),
    [
        ("up == 0", 0),
        ("rate(x[5m])", 300),
        ("rate(x[5m]) > 0 and rate(y[1h]) > 0", 3600),
        ("x offset 1d", 86400),
        ("x offset -5m", 0),
        ("rate(x[5m] offset 1h)", 3900),
        ("max_over_time(rate(x[5m])[1h:1m])", 3900),
        ("max_over_time(x[1h:1m] offset 2h)", 10800),
        ("1 == bool 1", 0),
    ],
)
def test_how_far_an_expression_looks_back(expr: str, seconds: float) -> None:
    assert longest_range(expr) == seconds


@pytest.mark.parametrize("expr", ["", "up{", "1 == 1", "rate(x)", "sum(", "up[$__rate_interval]"])
def test_what_is_no_promql_says_so(expr: str) -> None:
    with pytest.raises(PromQLError):
        selectors(expr)


@pytest.mark.parametrize(
    "expr",
    [
        "(" * 9_000 + "x" + ")" * 9_000,
        "-" * 19_000 + "x",
        "x^" * 9_000 + "x",
        "abs(" * 4_000 + "x",
        "x" * 50_000,
        '#"\n' + "up" + "+up" * 1_300 + '\n#"',
        '#"\n' + "(" * 150 + "up" + ")" * 150 + '\n#"',
        "# '\r" + "-" * 500 + "up # '",
        "(" * 101 + "up" + ")" * 101,
    ],
    ids=[
        "brackets",
        "signs",
        "powers",
        "calls",
        "length",
        "hidden between quotes in comments",
        "brackets hidden so",
        "hidden behind a carriage return",
        "depth",
    ],
)
def test_an_expression_made_to_exhaust_the_parser_is_refused_at_once(expr: str) -> None:
    started = time.monotonic()
    with pytest.raises(PromQLError):
        selectors(expr)
    assert time.monotonic() - started < 1


def test_a_long_rule_is_read() -> None:
    expr = " or ".join(f'up{{job="job-{number}",instance=~"a|b"}} == 0' for number in range(80))
    assert len(selectors(expr)) == 80


def test_a_comment_is_no_code_and_a_hash_in_a_string_no_comment() -> None:
    assert selectors('up{job="a#b"} == 0 # unless "maintenance\n or x{a="#"}') == [
        'up{job="a#b"}',
        'x{a="#"}',
    ]
