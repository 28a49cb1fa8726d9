"""A postmortem as Markdown. What strangers wrote is escaped: it is drawn as it was written, wherever it is
pasted, and neither links, calls people, nor ends the list or the table that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.text import capfirst

from agents.costs import in_words
from agents.postmortem.parts import Cause, Change, Claim, Postmortem
from agents.postmortem.summary import local
from incidents.inert import inert
from incidents.models import Rating
from incidents.wording import duration

ADDRESS = re.compile(r"https?://[\w.:/?&=%+,;#-]+", re.ASCII)  # stays whole: it leads where it says
MARKUP = re.compile(r"[\\`*_\[\]#|~]")
HTML = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})  # not all know a backslash before these
AT_THE_START = re.compile(r"^(\d{1,9})([.)])|^([-+=:])")
WRITTEN_BY = {"playbooks": "a template over the records"}


def markdown(made: Postmortem) -> str:
    """The whole document; ends with a line end."""
    sections = (
        _head(made),
        _impact(made),
        _cause(made.cause),
        _runbooks(made),
        _changes(made),
        _ending(made),
        _past(made),
        _follow_ups(made),
        _timeline(made),
        _cost(made),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def text(words: object) -> str:
    """A stranger's words on one line, drawn as they are."""
    line = " ".join(inert(str(words)).split())
    parts, end = [], 0
    for address in ADDRESS.finditer(line):
        parts += [_escaped(line[end : address.start()]), address[0]]
        end = address.end()
    return AT_THE_START.sub(_at_the_start, "".join([*parts, _escaped(line[end:])]))


def _escaped(words: str) -> str:
    return MARKUP.sub(r"\\\g<0>", words.translate(HTML))


def _at_the_start(found: re.Match[str]) -> str:
    """What would begin a list, a heading's line or a definition."""
    return f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}"


def quote(words: str) -> Iterator[str]:
    """A stranger's lines as a block quote inside a list item."""
    for line in inert(words).splitlines():
        yield f"  > {text(line)}" if line.strip() else "  >"


def _head(made: Postmortem) -> Iterator[str]:
    yield f"# Postmortem of incident {made.incident}: {text(made.title)}"
    yield ""
    if not made.is_over:
        yield "**Not over yet.** What follows is how it stands now."
        yield ""
    yield text(made.summary.text)
    yield ""
    by = WRITTEN_BY.get(made.summary.by, f"the {made.summary.by}, checked against the records by code")
    why = f"; {text(made.summary.why)}" if made.summary.why else ""
    yield f"*Summary by {by}{why}.*"


def _impact(made: Postmortem) -> Iterator[str]:
    impact = made.impact
    until = f"until {local(impact.until)} (said by {impact.until_by})" if impact.until else "and goes on"
    yield "## Impact"
    yield ""
    yield f"- {text(impact.description)}"
    yield f"- Severity: {text(impact.severity)}"
    yield f"- From {local(impact.since)} {until}: {_took(impact.seconds)}"
    yield f"- {_many(impact.alerts, 'alert')} on {_many(len(impact.systems), 'system')}"
    yield from (f"  - {text(system)}" for system in impact.systems)
    if impact.reopened:
        yield f"- It came back {_many(impact.reopened, 'time')} soon after it had ended"
    yield from (f"- {capfirst(span.name)}: {_took(span.seconds)}" for span in made.spans)


def _cause(cause: Cause) -> Iterator[str]:
    yield "## Cause"
    yield ""
    if cause.text is None:
        yield "Not known."
    else:
        sure = f" ({cause.certainty.lower()})" if cause.certainty else ""
        yield f"{text(cause.text)}{sure}"
        yield ""
        yield f"*Said by {text(cause.by) or 'a person'}.*"
    if cause.crews is not None:
        yield f"\nThe crew had said: {text(cause.crews)}"
    if cause.rating is not None:
        yield f"\n{text(cause.rated_by)} rates the crew's cause: {Rating(cause.rating).label}."
    if cause.note:
        yield f"\nNote: {text(cause.note)}"
    yield from _claims("Evidence", cause.evidence)
    yield from _claims("Struck, for the quote is not in what was read", cause.struck)
    if cause.dropped:
        yield "\n### Weighed and dropped\n"
        yield from (f"- {text(each)}" for each in cause.dropped)


def _claims(title: str, claims: tuple[Claim, ...]) -> Iterator[str]:
    if claims:
        yield f"\n### {title}\n"
    for claim in claims:
        words = text(claim.text)
        source = f"{text(claim.tool)}, {text(claim.call_id)}" if claim.tool else text(claim.call_id)
        yield f"- {words if claim.found else f'~~{words}~~'} ({source})"
        if claim.quote is not None:
            yield from quote(claim.quote)


def _runbooks(made: Postmortem) -> Iterator[str]:
    if made.runbooks:
        yield "## Runbooks\n"
        yield from (f"- {text(each)}" for each in made.runbooks)


def _changes(made: Postmortem) -> Iterator[str]:
    yield "## What was done\n"
    if not made.changes:
        yield "Nothing was proposed, and nothing was changed."
    for change in made.changes:
        yield from _change(change)


def _change(change: Change) -> Iterator[str]:
    yield f"- **{text(change.what)}**: {change.status}"
    yield f"  - Why: {text(change.reason)}"
    if change.decision:
        yield f"  - Rules: {text(change.decision)}"
    if change.decided_at is not None and change.decided is not None:
        waited = f", after {_took(change.waited_seconds)}" if change.by_person else ""
        yield f"  - {capfirst(text(change.decided))} at {_time(change.decided_at)}{waited}"
    if change.began_at is not None:
        took = f", took {_took(change.took_seconds)}" if change.took_seconds is not None else ""
        yield f"  - Begun at {_time(change.began_at)}{took}"
        proof = {True: "it helped", False: "it did not help", None: "nobody knows whether it helped"}
        yield f"  - Proof: {proof[change.helped]}"
    if change.result:
        yield "  - Result:"
        yield from (f"  {line}" for line in quote(change.result))


def _ending(made: Postmortem) -> Iterator[str]:
    ending = made.ending
    yield "## How it ended, and why we know\n"
    yield f"**{text(ending.standing)}.** {ending.why}"
    yield ""
    for label, said in (("Said by", ending.by), ("Because", ending.note), ("Last seen", ending.seen)):
        if said:
            yield f"- {label}: {text(said)}"
    if ending.looks:
        yield f"- Looked at {_many(ending.looks, 'time')}"


def _past(made: Postmortem) -> Iterator[str]:
    yield "## What the memory knew\n"
    if not made.remembered:
        yield "Nothing like this."
    for past in made.remembered:
        number = f"incident {past.incident}" if past.incident else "of another memory"
        cause = text(past.cause) if past.cause else "cause unknown"
        said = "a person says: " if past.by_person else ""
        why = f"; {text(', '.join(past.why))}" if past.why else ""
        yield f"- {text(past.alert_name)} ({number}): {said}{cause}; {past.verdict or 'no verdict'}{why}"
        if past.note:
            yield f"  - Note: {text(past.note)}"


def _follow_ups(made: Postmortem) -> Iterator[str]:
    yield "## Follow-ups\n"
    yield from (f"- [ ] {text(each.text)}" for each in made.follow_ups)
    if not made.follow_ups:
        yield "None that a rule knows."


def _timeline(made: Postmortem) -> Iterator[str]:
    yield f"## Timeline ({settings.TIME_ZONE})"
    if made.left_out:
        yield f"\n{made.left_out} events in the middle are left out."
    for chapter in made.timeline:
        took = f", {_took(chapter.seconds)}" if chapter.seconds >= 1 else ""
        yield f"\n### {chapter.title}{took}\n"
        for moment in chapter.moments:
            said = f": {text(moment.text)}" if moment.text else ""
            yield f"- {_time(moment.at)} {text(moment.title)}{said} ({text(moment.actor)})"


def _cost(made: Postmortem) -> Iterator[str]:
    total = made.cost["total"]
    yield "## Cost\n"
    if not total["calls"]:
        yield "No model was asked."
        return
    yield f"{in_words(total)} for {_many(total['calls'], 'call')} of models"
    yield ""
    yield from (
        f"- {each['agent']}: {in_words(each)}, {_many(each['calls'], 'call')}"
        for each in made.cost["by_agent"]
    )


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(settings.TIME_ZONE)):%Y-%m-%d %H:%M:%S}"


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else duration(timedelta(seconds=seconds))


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
