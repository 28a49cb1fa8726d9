"""The four agents' turns. Each is a step: read and reason without a transaction, then commit what follows.

Monitor → Analyst → Healer → (executor) → proof, and the Communicator after the Healer and at the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents import (
    actions,
    answers,
    cases,
    communicator,
    counts,
    evidence,
    judgement,
    offers,
    outcomes,
    patience,
    postmortem,
    proof,
    reasoners,
    services,
    transcript,
)
from agents.loop import A, Brief, Request, Toolbox
from agents.models import Action, ActionKind, Step
from agents.policy import authorize
from agents.reading import ExpressionState
from agents.rules import Decision, Reason
from agents.tools import available
from agents.tools.base import ToolError
from agents.tools.prometheus_client import sharing
from incidents import events, rawsql, tally
from incidents import services as incident_services
from incidents.models import Episode, Event, Incident, Rating, Target, Verdict
from incidents.queue import LIVE
from incidents.redaction import clean

Status = Incident.Status
FALSE_ALARM = "each expression has fresh samples and was not true since before its alert's start"


def monitor(step: Step) -> None:
    """Is the alert real, and what is affected? It is read by code, whoever reasons."""
    incident = step.run.incident
    alerts = cases.alerts_of(incident)
    cases.bind_targets(incident, alerts)
    brief = _brief(step, answers.Triage, alerts)
    with sharing(proof.new_look()):
        proof.adopt_state_checks(alerts)
        look = proof.observe(incident, alerts=alerts)
        reading = _read_expression(step, brief)
    if reading.get("state") in (None, "unknown"):
        reading = {"state": look.state.value, "reason": look.reason}  # a container's state, say
    false_alarm = (
        _never_fired(reading) and look.state is ExpressionState.CLEARED and proof.never_fired(incident)
    )
    triage = reasoners.think(step, replace(brief, context={"reading": reading}))
    with transaction.atomic():
        if not _finish(step, {**triage.model_dump(), "reading": reading}, triage.summary):
            return
        # As it was read before the look: an alert that joined since has not been looked at.
        if false_alarm and incident_services.close(
            incident, Verdict.FALSE_ALARM, actor="monitor", note=FALSE_ALARM, only_if_unjoined=True
        ):
            return
        services.add_step(step.run, Step.Agent.ANALYST, focus=incident.target, known_open=True)


def _read_expression(step: Step, brief: Brief[Any]) -> dict[str, Any]:
    """The data of `alert_expression`, kept as a tool call of the step; empty without a Prometheus."""
    if not any(tool.name == "alert_expression" for tool in brief.tools):
        return {}
    request = Request(id="monitor-expression", tool="alert_expression", arguments={})
    return dict(Toolbox(brief, transcript.recorder(step)).call(request).data)


def _never_fired(reading: dict[str, Any]) -> bool:
    return reading.get("state") == "cleared" and reading.get("was_firing") is False


def analyst(step: Step) -> None:
    """Why? Claims carry quotes; code strikes those that the stored outputs do not hold."""
    triage = transcript.answer_of(step.run, Step.Agent.MONITOR)
    diagnosis = reasoners.think(step, _brief(step, answers.Diagnosis, triage=triage))
    checked = evidence.check(diagnosis, *transcript.outputs(step.run))
    incident = step.run.incident
    with transaction.atomic():
        if not _finish(step, checked.as_json(), f"{checked.certainty}: {checked.cause}"):
            return
        earlier = None
        if step.number > 1:  # of another target
            incident.refresh_from_db(fields=["root_cause"])
            earlier = incident.root_cause
        cause = f"{earlier}\n{checked.cause}" if earlier else checked.cause
        unrated = {} if earlier else incident_services.UNRATED
        fields = {"root_cause": cause, "certainty": checked.certainty, "rung": step.rung, **unrated}
        rawsql.change(Incident, fields, "id = {}", incident.pk)
        if earlier:  # "right" was said of that alone; "wrong" is kept, or it would be offered again
            rated = Incident.objects.filter(pk=incident.pk, rating=Rating.RIGHT)
            rated.update(**incident_services.UNRATED)
        services.add_step(step.run, Step.Agent.HEALER, focus=step.focus, known_open=True)


def healer(step: Step) -> None:
    """What, if anything? A proposal; `authorize()` decides, and nothing is done in this step."""
    incident = step.run.incident
    if (wait := patience.reason_to_wait(step)) is not None:
        _wait(step, wait)
        return
    context = {
        "triage": transcript.answer_of(step.run, Step.Agent.MONITOR),
        "diagnosis": transcript.answer_of(step.run, Step.Agent.ANALYST, step.focus),
        "asked_by_a_person": bool(step.asked_by),
    }
    brief = _brief(step, offers.form(step.focus or incident.target), **context)
    record = outcomes.track_record(brief.case, step.run)
    remediation = reasoners.think(step, replace(brief, context={**context, "track_record": record}))
    proposal = _weigh(step, remediation) if remediation.action != "none" else None
    with transaction.atomic():
        if not _finish(step, remediation.model_dump(), remediation.reason):
            return
        if isinstance(proposal, Reason):
            tally.add(counts.refused([proposal]))
            data = {"reasons": Decision("refuse", (proposal,)).as_json()}
            events.record(incident, Event.Kind.REFUSED, "authorize", proposal.text, data)
        elif proposal is not None:
            services.propose(*proposal)
        if incident.status == Status.INVESTIGATING:
            incident_services.transition(incident, Status.PROVING, actor="healer", text="no action; watching")
        if incident.status != Status.ACTING:
            begin_watch(step, incident)
        about = proposal[0].target if isinstance(proposal, tuple) else step.focus
        services.add_step(step.run, Step.Agent.COMMUNICATOR, focus=about)


def _weigh(step: Step, remediation: answers.Remediation) -> tuple[Action, Decision] | Reason:
    """A drafted action with its decision; or why there can be none."""
    incident = step.run.incident
    target = Target.objects.filter(key=remediation.target or "", gone_at=None).first()
    if target is None:
        candidates = cases.build(incident).candidates
        hint = f"; the labels fit {', '.join(candidates)}" if candidates else ""
        text = f"{remediation.action}: {remediation.target!r} is not in the inventory{hint}"
        return Reason("refuse", "unknown_target", text)
    wish = Action(incident=incident, kind=ActionKind(remediation.action), target=target)
    try:
        wish.arguments = actions.prepared(wish, remediation.given())
    except ToolError as error:
        return Reason("refuse", "arguments", f"{wish}: {error}")
    try:
        state = actions.spec_of(wish).state(wish)
    except ToolError as error:
        return Reason("refuse", "unread", f"{wish}: its state cannot be read: {error}")
    look = proof.observe_target(incident, target)
    action = services.draft(
        step,
        kind=ActionKind(wish.kind),
        target=target,
        reason=remediation.reason,
        state=state,
        arguments=wish.arguments,
        touches=clean(actions.dry_run(wish)),
    )
    decision = authorize(action, state=state, fault=look.state, fault_reason=look.reason, approved=False)
    return action, decision


def _wait(step: Step, wait: patience.Wait) -> None:
    """Put the Healer off, and watch meanwhile: when the alert clears, the run ends before its turn."""
    incident = step.run.incident
    seconds = max(0.0, (wait.until - timezone.now()).total_seconds())
    if step.waits_since is not None:
        step.put_back(seconds=seconds)
        return
    answer = answers.Remediation(action="none", reason=wait.text).model_dump()
    with transaction.atomic():
        if not step.put_back(seconds=seconds, waits_since=wait.since, output=answer) or _is_over(step):
            return
        events.record(incident, Event.Kind.AGENT, "healer", wait.text, {"step": step.pk})
        if incident.status == Status.INVESTIGATING:
            incident_services.transition(incident, Status.PROVING, actor="healer", text="watching meanwhile")
        if incident.status != Status.ACTING:
            begin_watch(step, incident)
        services.add_step(step.run, Step.Agent.COMMUNICATOR, focus=step.focus)


def begin_watch(
    step: Step, incident: Incident, *, newer_than: float | None = None, series: tuple[str, ...] = ()
) -> None:
    """Look at the expression from now on, also when nothing is done now: it may clear by itself or by hand.

    `newer_than`, `series`: what must be seen after an action that has just been done.
    For who has locked the run, and seen that it is not over.
    """
    before = rawsql.fetch(Step, "run_id = {} AND agent = 'proof' AND output IS NOT NULL", step.run_id)
    known = judgement.Progress.from_json(before[-1].output or {}) if before else None
    progress = proof.begin(
        incident,
        action=proof.begun(step.run),
        # What an earlier watch must see after an action, this one must see, too.
        newer_than=newer_than or (known.newer_than if known else None),
        series=tuple(dict.fromkeys((*series, *(known.must_be_fresh if known else ())))),
    )
    services.add_step(step.run, Step.Agent.PROOF, after=1.0, output=progress.as_json(), known_open=True)


@transaction.atomic
def leave(step: Step) -> None:
    """An agent's turn in an incident that a person has: nothing is thought or proposed, and it is watched.

    NotNow when it was given back meanwhile.
    """
    incident = services.lock_incident(step.run.incident_id)
    if incident.taken_over_at is None:
        raise services.NotNow(f"{incident} was given back")
    if step.finish(finished_at=timezone.now()) and incident.status != Status.CLOSED:
        said = f"stands back: {incident.taken_over_by} has it"
        events.record(incident, Event.Kind.AGENT, step.agent, said, {"step": step.pk})
        _only_watch(step, incident)


@transaction.atomic
def stand_back(incident_id: int) -> None:
    """A person has the incident: what is asked and what has not begun is withdrawn."""
    incident = services.lock_incident(incident_id)
    # No answer, and not let pass either: it may be asked again.
    services.withdraw_open(incident, f"{incident.taken_over_by} has it", expires_at=None)
    last = Step.objects.filter(run__incident=incident, run__finished_at=None).order_by("-id").first()
    if last is not None and incident.status in (Status.AWAITING_APPROVAL, Status.ACTING):
        _only_watch(last, incident)


@transaction.atomic
def go_on(incident_id: int) -> None:
    """The incident is the crew's again: it looks at it anew, unless an agent has not left yet."""
    incident = services.lock_incident(incident_id)
    run = incident.runs.filter(finished_at=None).first()
    if run is None or run.steps.filter(agent__in=reasoners.THINKERS, state__in=LIVE).exists():
        return
    began = run.steps.filter(agent=Step.Agent.MONITOR, output__isnull=False).exists()
    services.add_step(run, Step.Agent.ANALYST if began else Step.Agent.MONITOR, focus=incident.target)


def _only_watch(step: Step, incident: Incident) -> None:
    if incident.status == Status.INVESTIGATING:
        incident_services.transition(incident, Status.PROVING, actor="crew", text="watching only")
    elif incident.status != Status.PROVING:
        services.follow_actions(incident, actor="crew", text="watching only")
    if incident.status == Status.PROVING and not services.is_over(step.run):
        begin_watch(step, incident)


def communicate(step: Step) -> None:
    """Tell people, in a template's words: what is known now, or how it ended."""
    with transaction.atomic():
        if communicator.tell(step.run.incident, step.run, step.focus):
            said = "told people" if settings.NOTIFY_URLS else "would tell people, but NOTIFY_URLS is not set"
            _say(step, {"told": True}, said)
        else:
            _say(step, {"told": False}, "")


def summarize(step: Step) -> None:
    """The postmortem's paragraph, which a person asked for. Whether it holds is asked when it is shown."""
    incident = step.run.incident
    told = postmortem.of(incident, outputs=False)
    plain = {"summary": postmortem.template(incident, told), "verdict": incident.verdict or postmortem.OPEN}
    brief = _brief(step, answers.PostmortemSummary, facts=postmortem.facts(told), plain=plain)
    answer = reasoners.think(step, replace(brief, tools=()))
    with transaction.atomic():
        _say(step, answer.model_dump(), "wrote the postmortem's summary")


def _brief(step: Step, answer: type[A], alerts: list[Episode] | None = None, /, **context: Any) -> Brief[A]:
    return Brief(
        agent=step.agent,
        case=cases.build(step.run.incident, step.focus, alerts),
        answer=answer,
        tools=tuple(available()),
        context=context,
        number=step.number,
    )


def _finish(step: Step, output: dict[str, Any], text: str) -> bool:
    """Commit an agent's answer, and say it on the timeline.

    False when nothing may follow: another worker took the step over, or the run has ended meanwhile.
    """
    return _say(step, output, text) and not _is_over(step)


def _say(step: Step, output: dict[str, Any], text: str) -> bool:
    """False when another worker took the step over."""
    if not step.finish(
        output=output,
        brief=step.brief,
        rung=step.rung,
        rung_reason=step.rung_reason[:300],
        finished_at=timezone.now(),
    ):
        return False
    tally.add(counts.turn(step, "answered"))
    if text:
        data = {"step": step.pk, "rung": step.rung}
        events.record(step.run.incident, Event.Kind.AGENT, step.agent, text, data)
    return True


def _is_over(step: Step) -> bool:
    """Whether the step's run has ended; if not, it does not before the transaction does.

    The status of the step's incident is then what it is now.
    """
    incident = step.run.incident
    incident.status, finished = services.lock_both(step.run)
    return finished or incident.status == Status.CLOSED
