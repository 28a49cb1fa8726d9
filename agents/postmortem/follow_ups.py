"""What is left to do after an incident, by rules over its records. Each says what it was seen by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agents import cases
from agents.models import Action
from agents.postmortem.parts import FollowUp, Postmortem
from incidents import problems
from incidents.counts import UNFIXED
from incidents.models import Episode, Incident, Rating, Verdict
from incidents.queue import State
from incidents.redaction import clean

RUNBOOK_URL = "runbook_url"
NAMES = 5
Rule = Callable[[Incident, Postmortem, Sequence[Episode]], Iterator[FollowUp]]


def of(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    """What the rules say, the gravest first."""
    for rule in RULES:
        yield from rule(incident, made, alerts)


def _unfixed(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    if incident.verdict in UNFIXED:
        yield FollowUp("unfixed", f"It is still there: {made.ending.standing.lower()}.")
    elif incident.verdict is not None and incident.episodes.firing().exists():
        yield FollowUp(
            "still_firing", "Its sender still calls an alert of it firing: look whether it is over."
        )


def _problem(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    for problem in problems.of_incident(incident).filter(closed_at=None):
        proposal = problem.proposal or "nothing is proposed yet; somebody should look why"
        yield FollowUp("problem", f"It keeps coming back (problem {problem.pk}): {proposal}")


def _actions(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    done = incident.actions.changes().select_related("target").order_by("pk")
    for action in done:
        if action.status == Action.Status.UNKNOWN:
            yield FollowUp("unknown_action", f"Whether it was done, nobody knows; look by hand: {action}.")
        elif action.helped is False or action.status == Action.Status.FAILED:
            yield FollowUp("vain_action", f"It did not help: {action}. Another remedy is wanted.")
        elif action.helped is None and incident.verdict is not None:
            yield FollowUp("unproven_action", f"Whether it helped, nobody knows: {action}.")
    for action in incident.actions.filter(status=Action.Status.EXPIRED).select_related("target"):
        yield FollowUp("expired", f"Nobody answered in time: {action}. Who should be asked?")


def _proof(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    if incident.verdict == Verdict.UNKNOWN:
        because = f" ({made.ending.note})" if made.ending.note else ""
        yield FollowUp("unproven", f"Make its end provable{because}.")
    blind = sorted({clean(each.alert_name) for each in alerts if _has_no_signal(each)})
    if blind:
        names = ", ".join(blind[:NAMES])
        yield FollowUp(
            "no_expression",
            f"No expression comes with {names}: without a generatorURL whose g0.expr is the rule's, nothing "
            "can be proved.",
        )


def _has_no_signal(alert: Episode) -> bool:
    return not alert.condition and cases.expression_of(alert) is None


def _cause(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    if incident.human_cause or incident.verdict in (None, Verdict.FALSE_ALARM):
        return
    if incident.rating in (Rating.WRONG, Rating.PARTLY):
        yield FollowUp("cause", f"{incident.rated_by} calls the cause not right: write down the right one.")
    elif not incident.root_cause or incident.certainty == "INCONCLUSIVE":
        yield FollowUp(
            "cause", "The cause is not known. Who finds it out should write it down: it is remembered."
        )


def _runbook(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    named = any(each.annotations.get(RUNBOOK_URL) for each in alerts)
    if not made.runbooks and not named and incident.verdict != Verdict.FALSE_ALARM:
        yield FollowUp("no_runbook", f"Write a runbook for {made.impact.alert_name}: none was found.")


def _messages(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    dead = incident.notifications.filter(state=State.DEAD).order_by("pk")
    channels = list(dict.fromkeys(dead.values_list("channel", flat=True)[:100]))
    if channels:
        yield FollowUp("not_told", f"Messages did not arrive at {', '.join(channels[:NAMES])}.")


def _alarm(incident: Incident, made: Postmortem, alerts: Sequence[Episode]) -> Iterator[FollowUp]:
    if incident.verdict == Verdict.FALSE_ALARM:
        yield FollowUp("false_alarm", f"There was nothing wrong: mend the rule of {made.impact.alert_name}.")
    elif incident.reopened:
        times = "once" if incident.reopened == 1 else f"{incident.reopened} times"
        yield FollowUp(
            "flapping", f"It came back {times} soon after its end: does its rule want a longer `for`?"
        )


RULES: tuple[Rule, ...] = (_unfixed, _problem, _actions, _proof, _cause, _runbook, _messages, _alarm)
