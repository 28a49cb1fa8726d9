"""`replay INCIDENT…`: recorded investigations again, with another model, other prompts or the playbooks."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents.agreement import Agreement, Summary, cheapest_right, compare, summarise
from agents.models import Step
from agents.reasoners import against_money, prompts, rungs
from agents.replay import PLAYBOOKS, Contender, NotRecorded, Replayed, recorded, replay
from incidents.models import Incident, Verdict

WORD = {True: "yes", False: "NO", None: "unknown"}
TABLE = "{:30} {:>9} {:>9} {:>7} {:>9} {:>9} {:>10} {:>8}"
HEAD = ("REASONER", "RIGHT", "SAME ACT.", "FAILED", "LACKING", "TOKENS", "USD", "SECONDS")
LACKING_SHOWN = 5


class Command(BaseCommand):
    help = (
        "Run recorded investigations again on their recorded tool results. The world is not asked, nothing "
        "is done, and the incidents stay as they are; what a model is asked counts against the budget."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("incidents", nargs="*", type=int, metavar="INCIDENT")
        parser.add_argument(
            "--last", type=int, metavar="N", help="the last N incidents that have a recording"
        )
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="M",
            help=f"a model, or {PLAYBOOKS} (the default); more than once to compare them",
        )
        parser.add_argument("--base-url", metavar="U", help="of another server; it is not sent your key")
        parser.add_argument("--key-env", metavar="NAME", help="environment variable with that server's key")
        parser.add_argument(
            "--prompts",
            action="append",
            type=Path,
            default=[],
            metavar="DIR",
            help=f"a folder with {', '.join(f'{name}.md' for name in prompts.FILES)} in place of ours",
        )

    def handle(self, **options: Any) -> None:
        incidents = _incidents(options["incidents"], options["last"])
        contenders = _contenders(options)
        rows: list[tuple[Replayed, Agreement]] = []
        for incident in incidents:
            try:
                record = recorded(incident)
                rows.append((record, compare(record)))
                for contender in contenders:
                    rows.append(self._replay(incident, contender))
            except NotRecorded as error:
                raise CommandError(f"{error}.") from error
        if len(rows) > 2:
            self._table(summarise(rows))

    def _replay(self, incident: Incident, contender: Contender) -> tuple[Replayed, Agreement]:
        if contender.server is not None and (why := against_money(contender.server)):
            raise CommandError(f"{why}; a replay counts against it, too.")
        replayed = replay(incident, contender)
        agreement = compare(replayed)
        for line in _told(replayed, agreement):
            self.stdout.write(line)
        return replayed, agreement

    def _table(self, summaries: Sequence[Summary]) -> None:
        self.stdout.write("\n" + TABLE.format(*HEAD))
        for each in summaries:
            self.stdout.write(TABLE.format(*_cells(each)))
        best = cheapest_right(summaries[1:])  # the first is the record
        if best is not None:
            self.stdout.write(f"\nThe cheapest that is right wherever it can be told: {best.contender}")
        elif any(each.judged for each in summaries):
            self.stdout.write("\nNone is right wherever it can be told.")
        else:
            self.stdout.write(
                "\nWhat is right cannot be told: no proof of an action, and no cause by a person."
            )


def _incidents(keys: Sequence[int], last: int | None) -> list[Incident]:
    if bool(keys) == (last is not None):
        raise CommandError("name incidents, or --last N.")
    if last is not None:
        if last < 1:
            raise CommandError("--last: at least 1.")
        known = Step.objects.filter(brief__isnull=False).values("run__incident")
        incidents = list(Incident.objects.filter(pk__in=known).order_by("-pk")[:last])
        if not incidents:
            raise CommandError("no incident has a recorded investigation.")
        return incidents[::-1]
    found = Incident.objects.in_bulk(keys)
    if unknown := [str(key) for key in keys if key not in found]:
        raise CommandError(f"no such incident: {', '.join(unknown)}.")
    return [found[key] for key in dict.fromkeys(keys)]


def _contenders(options: dict[str, Any]) -> list[Contender]:
    folders: list[Path | None] = [*options["prompts"]] or [None]
    models = list(options["model"])
    if not models:
        other = options["prompts"] or options["base_url"]
        models = [_configured().model] if other else [PLAYBOOKS]
    try:
        return [
            Contender()
            if model == PLAYBOOKS
            else Contender(_server(model, options), prompts.load(folder or prompts.FOLDER), folder)
            for model, folder in product(models, folders)
            if model != PLAYBOOKS or folder == folders[0]  # playbooks read no prompts
        ]
    except prompts.PromptError as error:
        raise CommandError(f"{error}.") from error


def _configured() -> rungs.Rung:
    known = rungs.configured()
    if not known:
        raise CommandError("no model is configured: name --model and --base-url, or set OPENAI_BASE_URL.")
    return known[0]


def _server(model: str, options: dict[str, Any]) -> rungs.Rung:
    """Where a model is asked. A key goes to the server it is configured for, and to no other."""
    url, variable = options["base_url"], options["key_env"]
    if variable is not None and variable not in os.environ:
        raise CommandError(f"--key-env: {variable} is not set.")
    if url is None:
        same = [rung for rung in rungs.configured() if rung.model == model]
        return same[0] if same else replace(_configured(), model=model)
    if not url.startswith(("http://", "https://")):
        raise CommandError("--base-url: an address that begins with http:// or https://.")
    key = os.environ[variable] if variable else None
    return rungs.Rung("model", model, url, key, variable or "--key-env")


def _told(replayed: Replayed, agreement: Agreement) -> Iterator[str]:
    yield f"{replayed.incident}, by {replayed.contender}"
    if replayed.failed:
        yield f"  FAILED       {replayed.failed}"
    for was, now in replayed.of(Step.Agent.ANALYST):
        yield f"  cause        {now['certainty']}: {now['cause']}"
        yield f"  recorded     {was['certainty']}: {was['cause']}"
        struck = sum(not claim["found"] for claim in now["claims"])
        yield f"  evidence     {len(now['claims'])} claims, {struck} of them struck"
    for was, now in replayed.of(Step.Agent.HEALER):
        yield f"  action       {_action(now)} (recorded: {_action(was)})"
    yield (
        f"  same         action {WORD[agreement.same_action]}, certainty {WORD[agreement.same_certainty]}, "
        f"cause code {WORD[agreement.same_code]}, {_share(agreement.cause_words)} of the cause's words"
    )
    yield f"  right        {WORD[agreement.right]}{_by_what(agreement, replayed.incident)}"
    yield f"  tool calls   {replayed.asked}, {len(replayed.lacking)} of them are not in the recording"
    yield from (f"               not recorded: {each}" for each in replayed.lacking[:LACKING_SHOWN])
    spent = replayed.spent
    usd = "unknown price" if spent.usd is None else f"${spent.usd:.6f}"
    tokens = "tokens unknown" if spent.tokens is None else f"{spent.tokens} tokens"
    yield f"  took         {replayed.seconds:.2f} s, {spent.calls} model calls, {tokens}, {usd}"


def _by_what(agreement: Agreement, incident: Incident) -> str:
    """What says so: a proof, or the verdict where none saw anything, and the cause that a person wrote."""
    said = []
    if agreement.proof is not None:
        false_alarm = incident.verdict == Verdict.FALSE_ALARM
        said.append(
            f"{'by the verdict false_alarm' if false_alarm else 'by the proof'} {WORD[agreement.proof]}"
        )
    if agreement.person_words is not None:
        said.append(f"{agreement.person_words:.0%} of the words of the cause that a person wrote")
    if not said and not agreement.right:
        return " (nothing was proved, and no person wrote the cause)" if agreement.right is None else ""
    return f": {', '.join(said)}"


def _action(answer: dict[str, Any]) -> str:
    return " ".join(filter(None, (answer["action"], answer.get("target"))))


def _share(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share:.0%}"


def _cells(each: Summary) -> tuple[str, ...]:
    return (
        each.contender,
        f"{each.right} of {each.judged}",
        f"{each.same_action} of {each.incidents}",
        str(each.failed),
        f"{each.lacking} of {each.asked}",
        "unknown" if each.tokens is None else str(each.tokens),
        "unknown" if each.usd is None else f"{each.usd:.6f}",
        f"{each.seconds:.2f}",
    )
