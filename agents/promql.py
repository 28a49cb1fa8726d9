"""What an alert's expression asks for, read from its text alone. No network, no Django."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import promql_parser
from promql_parser import (
    BinaryExpr,
    Expr,
    Matcher,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    VectorSelector,
)

# The parser recurses on the stack, and an expression comes from whoever may post an alert: one that
# nests some thousand deep would end the process. A rule written for people has a few dozen of these.
# The length alone keeps the parser from that; the other two keep it quick, and Python's own stack whole.
MAX_LENGTH = 4_000
MAX_OPERATIONS = 400
MAX_DEPTH = 100
# In one pattern, for each hides the other: a quote in a comment opens no string, `#` in a string no comment.
_STRING_OR_COMMENT = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|\#[^\r\n]*""", re.DOTALL
)
_MATCHERS = re.compile(r"\{[\w\s:.,=!~]*\}")
_OPERATION = re.compile(r"[-+*/%^(\[]|[<>=]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_BRACKET = re.compile(r"[(){}\[\]]")

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATORS = ((MatchOp.Equal, "="), (MatchOp.NotEqual, "!="), (MatchOp.Re, "=~"), (MatchOp.NotRe, "!~"))
_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})


class PromQLError(ValueError):
    """The text is no PromQL that can be read here."""


def expression_of(generator_url: str) -> str | None:
    """The expression that a Prometheus names in an alert's generatorURL (`g0.expr`), None if it has none.

    The URL is only read: whoever posts an alert chooses it, so it is never fetched.
    """
    try:
        query = parse_qs(urlsplit(generator_url).query)
    except ValueError:
        return None
    expression = query.get("g0.expr", [""])[0].strip()
    return expression or None


def selectors(expr: str) -> list[str]:
    """Every vector selector of the expression as an instant selector: name and matchers, each once.

    Ranges, offsets and `@` are dropped: the question is whether the series is there now. PromQLError.
    """
    found = (_render(node) for node, _ in _walk(_parse(expr)) if isinstance(node, VectorSelector))
    return list(dict.fromkeys(found))


def longest_range(expr: str) -> float:
    """Seconds that the expression looks back at most: ranges, subqueries and offsets, nested ones added.

    A sample older than this no longer plays a part in the result. 0 for plain selectors. PromQLError.
    """
    return max(back for _, back in _walk(_parse(expr)))


@dataclass(frozen=True)
class Comparison:
    """`measured` is compared with `threshold`, and fires above it (1), below it (-1), or elsewhere (0)."""

    measured: str
    threshold: float
    side: int


def comparison(expr: str) -> Comparison | None:
    """The outermost comparison with a number; None when there is none, or it cannot be read."""
    try:
        root = _parse(expr)
    except PromQLError:
        return None
    while isinstance(root, ParenExpr):
        root = root.expr
    if not isinstance(root, BinaryExpr) or str(root.op) not in _COMPARISONS:
        return None
    side = {">": 1, ">=": 1, "<": -1, "<=": -1}.get(str(root.op), 0)
    if isinstance(root.rhs, NumberLiteral):
        return Comparison(str(root.lhs), root.rhs.val, side)
    if isinstance(root.lhs, NumberLiteral):
        return Comparison(str(root.rhs), root.lhs.val, -side)
    return None


def measured(expr: str) -> str | None:
    """What an alert's expression measures: its side of the outermost comparison with a number.

    `up{job="a"}` of `up{job="a"} == 0`; None when it compares with no number, or cannot be read.
    """
    found = comparison(expr)
    return found.measured if found else None


def quote(value: str) -> str:
    """The text as a PromQL string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _parse(expr: str) -> Expr:
    if len(expr) > MAX_LENGTH:
        raise PromQLError(f"expression of {len(expr)} characters, more than {MAX_LENGTH}")
    # What is measured is what is parsed: two readings of where a comment ends must not differ.
    code = _STRING_OR_COMMENT.sub(lambda match: match["string"] or " ", expr)
    _check_size(_MATCHERS.sub("", _STRING_OR_COMMENT.sub(" ", expr)))
    try:
        return promql_parser.parse(code)
    except ValueError as error:
        raise PromQLError(f"cannot read the expression: {error}") from error


def _check_size(bare: str) -> None:
    """PromQLError when there is more to parse than a rule has; `bare` is without strings and matchers."""
    if len(_OPERATION.findall(bare)) > MAX_OPERATIONS:
        raise PromQLError(f"expression with more than {MAX_OPERATIONS} operations")
    depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in "([{" else -1
        if depth > MAX_DEPTH:
            raise PromQLError(f"expression with more than {MAX_DEPTH} brackets within each other")


def _walk(root: Expr) -> Iterator[tuple[Expr, float]]:
    """Each node with the seconds that it looks back, its own included.

    Not `promql_parser.walk`: that takes cubic time, a second for 200 nested calls.
    """
    waiting = [(root, 0.0)]
    while waiting:
        node, outer = waiting.pop()
        back = outer + _own_look_back(node)
        yield node, back
        # Reversed, so that selectors come in the order in which they are written.
        waiting.extend((child, back) for child in reversed(_children(node)))


def _children(node: Expr) -> list[Expr]:
    named = [getattr(node, name, None) for name in ("lhs", "rhs", "param", "expr", "vector_selector")]
    return [child for child in (*named, *getattr(node, "args", ())) if isinstance(child, Expr)]


def _own_look_back(node: Expr) -> float:
    if isinstance(node, MatrixSelector):
        return node.range.total_seconds()
    if isinstance(node, SubqueryExpr):
        return _seconds(node.range) + _seconds(node.offset)
    if isinstance(node, VectorSelector):
        return _seconds(node.offset)
    return 0.0


def _seconds(span: timedelta | None) -> float:
    """Of a negative offset 0: it looks into the future."""
    return max(0.0, span.total_seconds()) if span is not None else 0.0


def _render(selector: VectorSelector) -> str:
    """As PromQL. Not the parser's own `str`, which leaves quotes and newlines of a value unescaped."""
    groups = [selector.matchers.matchers, *selector.matchers.or_matchers]
    alternatives = [",".join(_render_matcher(each) for each in group) for group in groups if group]
    name = selector.name or ""
    if name and not _METRIC_NAME.fullmatch(name):
        return "{" + ",".join([quote(name), *alternatives]) + "}"
    if name and not alternatives:
        return name
    return name + "{" + " or ".join(alternatives) + "}"


def _render_matcher(matcher: Matcher) -> str:
    operator = next(text for each, text in _OPERATORS if each == matcher.op)
    label = matcher.name if _LABEL_NAME.fullmatch(matcher.name) else quote(matcher.name)
    return f"{label}{operator}{quote(matcher.value)}"
