"""What strangers wrote is drawn in a postmortem's Markdown as they wrote it, and does nothing else."""

from __future__ import annotations

import re

import markdown  # type: ignore[import-untyped]
import pytest
from markdown_it import MarkdownIt

from agents import postmortem
from agents.postmortem.markdown import markdown as document
from agents.postmortem.markdown import text
from incidents import events
from incidents.models import Event, Verdict
from tests.agents.rows import a_run
from tests.incidents.rows import a_target, an_episode, an_incident

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "[a]: http://evil.example",
    "<http://evil.example>",
    "&lt;b&gt;bold&lt;/b&gt; &copy;",
    "# a heading",
    "- [x] done",
    "1. one",
    "2) two",
    "+ plus",
    "> quoted",
    "---",
    "===",
    "```\ncode\n```",
    "    four blanks",
    "**bold** __too__ *thin* ~~gone~~ `code`",
    "| a | table |\n|---|---|",
    "line\n\n## and a section\n\n- an item",
    "back\\slash \\<b>",
    "Setext\n=====",
    "\u202egnp.exe \u200bhidden",
    "<!-- gone --> <![CDATA[x]]>",
    "*[abbr]: x",
    "[^1]: note",
    ": definition",
)
DRAWN = re.compile(r"<(?!/?(?:p|ul|li)>)[^>]*>")
RENDERERS = {
    "commonmark": lambda source: MarkdownIt("gfm-like", {"linkify": False}).render(source),
    "python-markdown": lambda source: markdown.markdown(source, extensions=["extra"]),
}


def plain(html: str) -> str:
    """What a reader reads of a drawn list item."""
    words = re.sub(r"<[^>]*>", " ", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        words = words.replace(entity, character)
    return "".join(words.split())


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_it_is_drawn_as_it_was_written(renderer: str, hostile: str) -> None:
    html = RENDERERS[renderer](f"- {text(hostile)}")
    assert DRAWN.findall(html) == []
    seen = "".join(hostile.replace("\u202e", "").replace("\u200b", "").split())
    if renderer == "commonmark":
        assert plain(html) == seen


def test_an_address_stays_whole_and_nobody_is_called() -> None:
    assert text("see https://grafana.lan/d/a_b?x=1&y=2#z") == "see https://grafana.lan/d/a_b?x=1&y=2#z"
    assert "@everyone" not in text("hey @everyone and @here")
    assert text("mail to root@nas") == "mail to root@nas"


@pytest.mark.django_db
@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_whole_document_of_hostile_records_is_only_words(renderer: str) -> None:
    everything = "\n".join(HOSTILE)
    incident = an_incident(
        Verdict.UNKNOWN,
        target=a_target("x](http://evil.example)<b>"),
        alert_name="<b>[x](http://evil.example)</b>",
        description=everything,
        root_cause=everything,
        human_note=everything,
    )
    an_episode(incident, labels={"instance": "<i>nas</i>"})
    run = a_run(incident)
    step = run.steps.get(agent="analyst")
    claim = {"text": everything, "call_id": "<u>t1</u>", "quote": everything, "found": True}
    step.output = {"cause": everything, "certainty": "LIKELY", "claims": [claim], "dropped": [everything]}
    step.save()
    events.record(incident, Event.Kind.NOTED, "<a href=x>me</a>", everything)
    html = RENDERERS[renderer](document(postmortem.of(incident)))
    tags = set(re.findall(r"</?([a-z0-9]+)", html))
    ours = {"h1", "h2", "h3", "p", "ul", "li", "em", "strong", "blockquote", "del", "s"}
    assert tags <= ours
