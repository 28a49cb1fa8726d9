"""A runbook in Markdown as its title, its names and its sections. Pure.

A section keeps the path of its headings, for "Mitigation" alone says nothing. What is short stays whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import yaml

WHOLE_CHARS = 1800  # two passages of the embedding; a shorter document is one section
LONGEST_SECTION = 16_000  # what the embedding reads
MOST_SECTIONS = 200
LONGEST_FRONT_MATTER = 20_000

FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
LONGEST_HEADING = 300
HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
NO_PARAGRAPH = re.compile(r"[ \t]*(?:$|[-*+>|#]|\d+[.)]|[`~]{3})")  # what no underline makes a heading
# As alerts are called: KubePodCrashLooping, node_filesystem_full. A word of a sentence is not.
ALERT_NAME = re.compile(r"\b(?:[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+|[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+)\b")
WEB = re.compile(r"https?://\S{1,500}")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
MARKS = re.compile(r"[`*]|\{#[\w-]+\}")  # {#anchor} names a heading's anchor in some dialects


@dataclass(frozen=True, slots=True)
class Section:
    """`path`: headings from the document's title down. `text`: without these. `headings`: all it is under or
    holds."""

    path: tuple[str, ...]
    anchor: str
    text: str
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """`alerts`: the names that its front matter gives. `notes`: what was left out, in words."""

    title: str
    url: str | None
    alerts: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Cut:
    """A heading with the lines below it."""

    level: int
    heading: str
    lines: list[str] = field(default_factory=list)


def fold(name: str) -> str:
    """Letters and digits alone, others by number: `container-down` and ContainerDown are one name."""
    letters = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()
    return "".join(each if each.isascii() else f"{ord(each):x}" for each in letters)


def alert_names(text: str) -> list[str]:
    """Words that are written as names of alerts are."""
    return list(dict.fromkeys(ALERT_NAME.findall(text)))


def parse(text: str, name: str) -> Document:
    """`name` is what it is called when it has no title of its own."""
    about, text, notes = _front_matter(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    cuts = list(_cuts(text.split("\n")))
    first = next((cut.heading for cut in cuts if cut.level == 1 and cut.heading), None)
    title = _string(about.get("title")) or first or name
    sections = tuple(islice(_sections(cuts, title), MOST_SECTIONS + 1))
    if 1 < len(sections) <= MOST_SECTIONS and sum(len(section.text) for section in sections) <= WHOLE_CHARS:
        headings = (title, *(cut.heading for cut in cuts if cut.heading))
        sections = (Section((title,), "", _body(cuts, title), headings),)
    if len(sections) > MOST_SECTIONS:
        notes.append(f"only the first {MOST_SECTIONS} sections are read")
    if any(len(section.text) > LONGEST_SECTION for section in sections):
        notes.append(f"a section of it is cut after {LONGEST_SECTION} characters")
    short = (replace(each, text=each.text[:LONGEST_SECTION]) for each in sections)
    return Document(
        title=title,
        url=_address(about.get("url")) or _address(about.get("runbook_url")),
        alerts=_alerts(about),
        sections=tuple(short)[:MOST_SECTIONS],
        notes=tuple(notes),
    )


class _PlainLoader(yaml.SafeLoader):
    """Scalars, lists and mappings as they are written. A tag hands a text to a constructor that was not made
    for it; a few aliases or merged keys stand for gigabytes. Front matter needs none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            raise yaml.YAMLError("an alias or a tag")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("a merged key")


def _front_matter(text: str) -> tuple[Mapping[str, Any], str, list[str]]:
    """What stands between two lines of dashes at the top, as YAML, and the text after it."""
    found = FRONT_MATTER.match(text)
    if found is None or len(found[1]) > LONGEST_FRONT_MATTER:
        return {}, text, []
    try:
        about = yaml.load(found[1], _PlainLoader)  # noqa: S506 it is a SafeLoader
    # A date that does not exist is a ValueError, a number like 1:2:3 with a thousand parts an OverflowError.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return {}, text[found.end() :], ["its front matter is no plain YAML"]
    return (about if isinstance(about, dict) else {}), text[found.end() :], []


def _string(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _address(value: Any) -> str | None:
    found = _string(value)
    return found if found and WEB.fullmatch(found) else None


def _alerts(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Under `alerts`, `alert`, `alert_names` or `alertname`: a name, several by commas, or a list."""
    names: list[str] = []
    for key in ("alerts", "alert", "alert_names", "alertname"):
        value = about.get(key)
        names += value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(dict.fromkeys(name.strip() for name in names if isinstance(name, str) and name.strip()))


def _cuts(lines: list[str]) -> Iterator[_Cut]:
    """The document cut at its headings; what stands before the first has none."""
    current, fence = _Cut(0, ""), ""
    for line in lines:
        mark = FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence
        elif mark is not None:
            fence = mark[1]
        elif (heading := HEADING.match(line)) is not None:
            yield current
            current = _Cut(len(heading[1]), _plain(_unclosed(line[heading.end() :].strip())))
            continue
        elif (under := UNDERLINE.fullmatch(line)) and _is_paragraph(current.lines):
            heading_line = current.lines.pop()
            yield current
            current = _Cut(1 if under[1][0] == "=" else 2, _plain(heading_line))
            continue
        current.lines.append(line)
    yield current


def _is_paragraph(lines: list[str]) -> bool:
    """Whether the last line is one of plain text alone, which an underline makes a heading."""
    if not lines or NO_PARAGRAPH.match(lines[-1]):
        return False
    return len(lines) == 1 or not lines[-2].strip()


def _unclosed(heading: str) -> str:
    """Without the marks that may close a heading; `C#` keeps its own."""
    bare = heading.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else heading


def _plain(heading: str) -> str:
    return MARKS.sub("", LINK.sub(r"\1", heading[:LONGEST_HEADING])).strip()


def _sections(cuts: list[_Cut], title: str) -> Iterator[Section]:
    """One for each heading with text below it. A heading that repeats the title is not in the path."""
    stack: list[_Cut] = []
    used: dict[str, int] = {}
    for cut in cuts:
        stack = [each for each in stack if each.level < cut.level]
        if cut.heading:
            stack.append(cut)
        anchor = _anchor(cut.heading, used) if cut.level else ""
        text = "\n".join(cut.lines).strip()
        if text:
            below = [each.heading for each in stack]
            path = (title, *(below[1:] if below[:1] == [title] else below))
            yield Section(path, anchor, text, path)


def _body(cuts: list[_Cut], title: str) -> str:
    """The whole document, without its title."""
    pieces = []
    for cut in cuts:
        shown = cut.heading and not (cut.level == 1 and cut.heading == title)
        pieces += [f"{'#' * cut.level} {cut.heading}\n"] * bool(shown) + ["\n".join(cut.lines)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(pieces)).strip()


def _anchor(heading: str, used: dict[str, int]) -> str:
    """As GitHub makes it: lower case, blanks as dashes, a number where it was used before. `used`: the last
    number by anchor."""
    slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") or "section"
    anchor = slug
    while anchor in used:
        used[slug] += 1
        anchor = f"{slug}-{used[slug]}"
    used[anchor] = 0
    return anchor
