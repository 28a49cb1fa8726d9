"""Markdown cut into sections: headings, fences, front matter, and texts that nobody meant to be one."""

from __future__ import annotations

import pytest

from incidents.memory.markdown import LONGEST_SECTION, MOST_SECTIONS, WHOLE_CHARS, alert_names, fold, parse

LONG = "A sentence that fills the page. " * 80  # longer than a document that stays whole
BOOK = f"""\
# KubePodCrashLooping

A pod restarts again and again.

## Meaning
{LONG}
### In short
It crashes.
## Mitigation ##
```sh
# this is a comment, not a heading
kubectl logs --previous
```
"""


def paths(text: str, name: str = "file") -> list[str]:
    return [" > ".join(section.path) for section in parse(text, name).sections]


def test_a_section_keeps_the_path_of_its_headings() -> None:
    assert paths(BOOK) == [
        "KubePodCrashLooping",
        "KubePodCrashLooping > Meaning",
        "KubePodCrashLooping > Meaning > In short",
        "KubePodCrashLooping > Mitigation",
    ]


def test_a_fence_holds_no_heading_and_its_text_stays_as_it_is() -> None:
    assert parse(BOOK, "f").sections[-1].text == (
        "```sh\n# this is a comment, not a heading\nkubectl logs --previous\n```"
    )


def test_a_short_document_is_one_section_and_knows_all_its_headings() -> None:
    [section] = parse("# Alerts\n\n## DiskFull\nDelete.\n\n## PodDown\nRestart it.\n", "f").sections
    assert section.path == ("Alerts",)
    assert section.text == "## DiskFull\n\nDelete.\n\n## PodDown\n\nRestart it."
    assert section.headings == ("Alerts", "Alerts", "DiskFull", "PodDown")


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("no heading at all", "file", ["file"]),
        ("Title\n=====\ntext", "Title", ["Title"]),
        (
            f"intro\n\nFirst\n-----\n{LONG}\n\nSecond\n---\nx",
            "file",
            ["file", "file > First", "file > Second"],
        ),
        (f"---\ntitle: Given\n---\n# Own\n{LONG}", "Given", ["Given > Own"]),
        (f"# T\n| a | b |\n|---|---|\n| 1 | 2 |\n- item\n---\n{LONG}", "T", ["T"]),
        (f"# [Link `x`](http://h)\n{LONG}", "Link x", ["Link x"]),
        (f"#no heading\n####### nor this\n{LONG}", "file", ["file"]),
        (f"# C#\n{LONG}", "C#", ["C#"]),
        (f"#\n{LONG}", "file", ["file"]),
        (f"~~~\n# in a fence that never ends\n{LONG}", "file", ["file"]),
        (f"# T\r\n## Windows\r\n{LONG}", "T", ["T > Windows"]),
        ("\ufeff# With a mark at its start\ntext", "With a mark at its start", ["With a mark at its start"]),
        ("", "file", []),
        ("# Only a title", "Only a title", []),
    ],
)
def test_titles_and_headings(text: str, title: str, expected: list[str]) -> None:
    assert parse(text, "file").title == title
    assert paths(text) == expected


def test_front_matter_names_alerts_and_a_page() -> None:
    found = parse("---\nalerts: [DiskFull, disk_slow, 7]\nurl: https://w/x\n---\ntext", "f")
    assert (found.alerts, found.url, found.sections[0].text) == (
        ("DiskFull", "disk_slow"),
        "https://w/x",
        "text",
    )
    assert parse("---\nalert: A, B\n---\nt", "f").alerts == ("A", "B")
    assert parse("---\nurl: javascript:alert(1)\n---\nt", "f").url is None


@pytest.mark.parametrize(
    "front",
    [
        "{[",
        "- a\n- b",
        "when: 2026-13-45",
        "text",
        "alerts: {a: 1}\ntitle: [x]",
        "[" * 5000,
        "reviewed: !!timestamp soon",
        "sure: !!bool maybe",
        'many: !!int ""',
        "who: !!python/name:os.system",
        "when: " + "1:" * 1000 + "1.5",
        "more: 0b_",
        "<<: {title: Merged}",
        "*nobody",
    ],
)
def test_front_matter_that_is_odd_harms_nothing(front: str) -> None:
    found = parse(f"---\n{front}\n---\n# Title\ntext", "f")
    assert (found.title, found.alerts, found.sections[0].text) == ("Title", (), "text")


@pytest.mark.parametrize(
    "line", ["a{0}: &a{0} [*a{1}, *a{1}]", "a{0}: &a{0} {{<<: [*a{1}, *a{1}]}}", "a{0}: &a{0} {{k: *a{1}}}"]
)
def test_front_matter_never_stands_for_more_than_it_is_long(line: str) -> None:
    """Forty of these would be 2**40 values."""
    front = "\n".join(["a0: &a0 {k: 1}", *(line.format(n, n - 1) for n in range(1, 40))])
    found = parse(f"---\ntitle: Given\n{front}\n---\n# Own\ntext", "f")
    assert (found.title, found.notes) == ("Own", ("its front matter is no plain YAML",))


def test_anchors_are_those_that_links_use_and_each_is_one() -> None:
    text = "\n".join(f"## {heading}\n{LONG}" for heading in ("What's up?", "a b", "a b", "a-b-1", "🔥", "🔥"))
    found = [section.anchor for section in parse(text, "f").sections]
    assert found == ["whats-up", "a-b", "a-b-1", "a-b-1-1", "section", "section-1"]


@pytest.mark.parametrize("below", ["", "text\n"])
def test_no_anchor_is_looked_for_among_all_that_were_used(below: str) -> None:
    """A hundred thousand equal headings would be five thousand million looks."""
    found = parse(f"## Step\n{below}" * 100_000 + "## Step\nthe last", "f")
    assert len(found.sections) == (MOST_SECTIONS if below else 1)
    assert found.sections[-1].anchor == (f"step-{MOST_SECTIONS - 1}" if below else "step-100000")


def test_what_is_huge_is_cut_and_said() -> None:
    found = parse(f"# T\n{'x' * (LONGEST_SECTION + 5)}", "f")
    assert [len(section.text) for section in found.sections] == [LONGEST_SECTION]
    assert found.notes == (f"a section of it is cut after {LONGEST_SECTION} characters",)
    many = parse("\n".join(f"## h{n}\n{'x' * 100}" for n in range(MOST_SECTIONS + 3)), "f")
    assert len(many.sections) == MOST_SECTIONS
    assert "only the first" in many.notes[0]
    assert WHOLE_CHARS < LONGEST_SECTION


def test_names_are_compared_by_letters_and_digits() -> None:
    assert fold("Container-Down_2") == fold("container down 2") == "containerdown2"
    assert fold("Gerät aus") != fold("Gerat aus")
    assert fold("Gerät").isascii()
    assert alert_names("KubePodCrashLooping, or node_disk_full? A Sentence.") == [
        "KubePodCrashLooping",
        "node_disk_full",
    ]


@pytest.mark.parametrize(
    "piece", ["# ", "[", "`", "A", "Aa", "=", "-", "--- \n", "a_", " ", "\n", "#", "[]("]
)
def test_no_pattern_tries_all_ways_to_fit_a_megabyte(piece: str) -> None:
    """One that did would not end."""
    text = piece * (1_000_000 // len(piece))
    for start in ("", "# ", "---\n", "x\n", "# Aa"):
        found = parse(start + text + "_!", "f")
        assert found.title
        assert len(alert_names(found.title)) <= 1
