"""The crew on a real Prometheus and a real Docker engine: one test for each way an incident can end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from agents import questions, services
from agents.models import Action, CrewRun, Step, ToolCall
from incidents.models import Event, Incident, MemoryEntry, Notification

from . import openai_server as oai
from .require import require
from .world import World, drive, drive_to_end, drive_to_status, timeline, world

pytestmark = [pytest.mark.e2e, pytest.mark.django_db]
NAMES = [
    "killed",
    "asked",
    "broken",
    "stopped",
    "vanished",
    "again",
    "spurious",
    "other",
    "alone",
    "rejected",
    "modelled",
    "replayed",
    "fallen",
    "first",
    "second",
]


@pytest.fixture(scope="module")
def broken_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require("prometheus", "docker", "busybox")
    with world(tmp_path_factory.mktemp("world"), NAMES) as built:
        yield built


@pytest.fixture(autouse=True)
def configured(broken_world: World, settings) -> None:
    settings.PROMETHEUS_URL = broken_world.prometheus.url
    settings.DOCKER_HOSTS = {"test": broken_world.docker.url}
    settings.REMEDIATION_MODE = "auto"
    settings.PROOF_HOLD_SECONDS = 3
    settings.PROOF_TIMEOUT_SECONDS = 8
    settings.COOLDOWN_SECONDS = 0
    settings.CHANGES_PER_HOUR = 100


def started_at(broken_world: World, name: str) -> str:
    return str(broken_world.docker.client.containers.get(name).attrs["State"]["StartedAt"])


def break_down(broken_world: World, name: str) -> Incident:
    service = broken_world.services[name]
    broken_world.docker.kill_process(service.name)
    broken_world.wait_up(service, "0")
    return broken_world.post(service)


def test_a_killed_container_is_restarted_and_proved(broken_world: World) -> None:
    others = {
        each.name: started_at(broken_world, each.name)
        for name, each in broken_world.services.items()
        if name == "other"
    }
    incident = drive_to_end(break_down(broken_world, "killed"))
    print(timeline(incident))
    assert incident.verdict == "verified"
    assert incident.certainty == "CONFIRMED"
    assert incident.rung == "playbooks"
    action = incident.actions.get()
    assert (action.status, action.helped) == (Action.Status.DONE, True)
    assert {name: started_at(broken_world, name) for name in others} == others
    diagnosis = incident.runs.get().steps.get(agent=Step.Agent.ANALYST).output
    assert all(claim["found"] for claim in diagnosis["claims"])
    assert any("exit_code: 137" in claim["quote"] for claim in diagnosis["claims"])
    assert 0 < incident.resolution_seconds < 30
    assert MemoryEntry.objects.filter(incident=incident).exists()
    kept = ToolCall.objects.get(tool="evidence", step__run__incident=incident)
    assert "HOSTNAME" not in kept.output or "[redacted]" in kept.output
    drive(lambda: Notification.objects.filter(incident=incident, kind="update").exists())
    assert "fixed and verified" in Notification.objects.get(incident=incident, kind="update").title


def test_in_approve_mode_a_person_is_asked_and_their_yes_is_done_once(broken_world: World, settings) -> None:
    settings.REMEDIATION_MODE = "approve"
    incident = drive_to_status(break_down(broken_world, "asked"), "awaiting_approval")
    action = incident.actions.get()
    drive(lambda: Notification.objects.filter(incident=incident, kind="decision").exists())
    message = Notification.objects.get(incident=incident, kind="decision")
    assert "restart? until" in message.title
    assert len(message.title) <= 90
    assert "“" in message.body  # the quote
    questions.approve(action, by="alice")
    with pytest.raises(questions.NotWaiting):
        questions.approve(action, by="bob")
    incident = drive_to_end(incident)
    assert incident.verdict == "verified"
    assert incident.events.filter(kind=Event.Kind.EXECUTED).count() == 1
    assert incident.events.get(kind=Event.Kind.APPROVED).actor == "alice"


def test_a_fault_that_a_restart_does_not_cure_is_not_fixed(broken_world: World) -> None:
    service = broken_world.services["broken"]
    broken_world.docker.client.containers.get(service.name).remove(force=True)
    # It runs and serves nothing on the port that Prometheus watches.
    broken_world.docker.run_web(service.name, service.port, command=["sleep", "1000"])
    broken_world.wait_up(service, "0")
    incident = drive_to_end(broken_world.post(service))
    print(timeline(incident))
    assert incident.verdict == "not_fixed"
    assert incident.resolution_status == "escalated"
    assert incident.actions.get().helped is False
    drive(lambda: Notification.objects.filter(incident=incident, kind="ended").exists())
    assert "NOT fixed" in Notification.objects.get(incident=incident, kind="ended").title


def test_a_spurious_alert_leads_to_no_action(broken_world: World) -> None:
    service = broken_world.services["spurious"]
    before = started_at(broken_world, service.name)
    incident = drive_to_end(broken_world.post(service))
    assert incident.verdict == "false_alarm"
    assert not incident.actions.exists()
    assert started_at(broken_world, service.name) == before


def test_what_a_person_stopped_is_asked_about_once_and_not_restarted(broken_world: World, settings) -> None:
    settings.FLAP_WINDOW_SECONDS = 0
    service = broken_world.services["stopped"]
    broken_world.docker.client.containers.get(service.name).stop(timeout=1)
    broken_world.wait_up(service, "0")
    incident = drive_to_status(broken_world.post(service), "awaiting_approval")
    assert "stopped it by hand" in str(incident.actions.get().decision)
    assert "stopped by hand" in incident.root_cause
    Action.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    services.wake_proof(incident.pk)
    drive_to_status(incident, "proving")
    assert incident.actions.get().status == Action.Status.EXPIRED
    # A second incident about the same stop does not ask again.
    services.finish_run(incident)
    Incident.objects.filter(pk=incident.pk).update(status="new")
    drive_to_status(incident, "proving")
    refused = incident.actions.order_by("-id").first()
    assert refused.status == Action.Status.REFUSED
    assert "stopped" in [reason["code"] for reason in refused.decision]
    assert broken_world.docker.client.containers.get(service.name).status == "exited"


def test_a_rejected_action_is_not_done_and_the_watch_goes_on(broken_world: World, settings) -> None:
    settings.REMEDIATION_MODE = "approve"
    service = broken_world.services["rejected"]
    incident = drive_to_status(break_down(broken_world, "rejected"), "awaiting_approval")
    questions.reject(incident.actions.get(), by="alice", reason="mine")
    incident.refresh_from_db()
    assert (incident.status, incident.waiting_for) == ("proving", "proof")
    broken_world.docker.client.containers.get(service.name).start()  # she does it herself
    incident = drive_to_end(incident)
    assert incident.verdict == "cleared_before_action"
    assert incident.actions.get().status == Action.Status.REJECTED


def test_a_firing_with_the_same_start_after_a_resolve_reopens(broken_world: World, settings) -> None:
    settings.REMEDIATION_MODE = "observe"
    service = broken_world.services["again"]
    starts = timezone.now().isoformat()
    broken_world.docker.kill_process(service.name)
    broken_world.wait_up(service, "0")
    incident = drive_to_status(broken_world.post(service, starts=starts), "proving")
    broken_world.post(service, status="resolved", starts=starts)
    incident.refresh_from_db()
    assert incident.ended_at is not None
    broken_world.post(service, starts=starts)
    assert incident.episodes.get().contested_at is not None
    drive(lambda: incident.episodes.firing().exists())
    incident.refresh_from_db()
    assert incident.ended_at is None
    assert incident.verdict is None


def test_a_series_that_vanished_proves_nothing(broken_world: World, settings) -> None:
    settings.REMEDIATION_MODE = "observe"
    service = broken_world.services["vanished"]
    incident = drive_to_status(break_down(broken_world, "vanished"), "proving")
    jobs = broken_world.prometheus.jobs
    statics = [each for each in jobs[0]["static_configs"] if each["labels"]["container"] != service.name]
    broken_world.prometheus.reload(jobs=[{**jobs[0], "static_configs": statics}])
    try:
        drive(lambda: broken_world.up(service) is None)
        broken_world.post(service, status="resolved")  # as Alertmanager does a second later
        incident = drive_to_end(incident)
    finally:
        broken_world.prometheus.reload(jobs=jobs)
    print(timeline(incident))
    assert incident.verdict == "unknown"
    assert incident.resolution_status == "attempted"


def test_without_prometheus_nothing_is_done_alone_and_the_proof_is_named_unavailable(
    broken_world: World, settings
) -> None:
    url = broken_world.prometheus.url
    incident = break_down(broken_world, "alone")
    settings.PROMETHEUS_URL = None
    drive_to_status(incident, "awaiting_approval")
    decision = str(incident.actions.get().decision)
    assert "proof unavailable: PROMETHEUS_URL is not set" in decision
    assert url in decision  # the Prometheus that the alert came from


def test_every_step_is_recorded(broken_world: World, settings) -> None:
    settings.REMEDIATION_MODE = "observe"
    service = broken_world.services["other"]
    incident = drive_to_status(broken_world.post(service), "closed")
    run = CrewRun.objects.get(incident=incident)
    step = run.steps.get(agent=Step.Agent.MONITOR)
    assert step.output["reading"]["state"] == "cleared"
    assert step.tool_calls.filter(tool="alert_expression", error="").exists()


def sensible_model(request: dict[str, Any]) -> Any:
    """Inspects the container once, then answers from what it read, with one quote that it made up."""
    case = json.loads(
        re.search(r"<untrusted>\n(.*)\n</untrusted>", request["messages"][1]["content"], re.S)[1]
    )
    names = [tool["function"]["name"] for tool in request["tools"]]
    read = [message for message in request["messages"] if message["role"] == "tool"]
    if not read:
        return oai.call_tools(oai.tool_call("docker_inspect", {"container": case["target"]}))
    call_id = re.match(r"\[(.*)\]", read[0]["content"])[1]
    exit_line = re.search(r"^exit_code: .*$", read[0]["content"], re.M)[0]
    answers = {
        "submit_triage": {"state": "firing", "affected": [case["target"]], "summary": "it is down"},
        "submit_diagnosis": {
            "cause": "the container's process was killed",
            "certainty": "CONFIRMED",
            "claims": [
                {"text": "its exit code", "call_id": call_id, "quote": exit_line},
                {"text": "an invention", "call_id": call_id, "quote": "disk is full"},
            ],
        },
        "submit_remediation": {
            "action": "restart_container",
            "target": case["target"],
            "reason": "it was killed, and a restart brings it back",
        },
    }
    submit = next(name for name in names if name in answers)
    return oai.call_tools(oai.tool_call(submit, answers[submit]))


def test_the_same_crew_works_through_a_model(broken_world: World, settings) -> None:
    incident = break_down(broken_world, "modelled")
    with oai.OpenAIServer(sensible_model) as server:
        settings.OPENAI_BASE_URL = server.base_url
        incident = drive_to_end(incident)
        print(timeline(incident))
    assert (incident.verdict, incident.rung, incident.certainty) == ("verified", "model", "CONFIRMED")
    claims = incident.runs.get().steps.get(agent=Step.Agent.ANALYST).output["claims"]
    assert [claim["found"] for claim in claims] == [True, False]  # the invention is struck, and kept
    sent = sum(len(request.body) for request in server.requests)
    print(f"{len(server.chats)} model calls, {sent} bytes of prompts")
    assert sent <= 30_000  # four agents, one tool each


def test_the_playbooks_replay_a_models_incident_without_its_world(broken_world: World, settings) -> None:
    incident = break_down(broken_world, "replayed")
    with oai.OpenAIServer(sensible_model) as server:
        settings.OPENAI_BASE_URL = server.base_url
        incident = drive_to_end(incident)
    settings.PROMETHEUS_URL, settings.DOCKER_HOSTS, settings.OPENAI_BASE_URL = None, {}, None
    events = incident.events.count()
    out = StringIO()
    call_command("replay", incident.pk, stdout=out)
    print(out.getvalue())
    assert "exited with code 137 without anybody having stopped it" in out.getvalue()
    assert "right        yes: by the proof yes" in out.getvalue()
    assert "not recorded: docker_logs" in out.getvalue()  # the model had not read them
    assert incident.events.count() == events


def test_with_the_model_down_the_fallback_works_the_incident(broken_world: World, settings) -> None:
    incident = break_down(broken_world, "fallen")
    with (
        oai.OpenAIServer(lambda request: oai.rate_limited(300)) as down,
        oai.OpenAIServer(sensible_model) as small,
    ):
        settings.OPENAI_BASE_URL = down.base_url
        settings.OPENAI_FALLBACK_BASE_URL, settings.OPENAI_FALLBACK_MODEL = small.base_url, "small"
        incident = drive_to_end(incident)
    print(timeline(incident))
    assert (incident.verdict, incident.rung, incident.certainty) == ("verified", "fallback", "CONFIRMED")
    assert len(down.chats) == 1  # the next agents did not wait for it again
    reasons = incident.runs.get().steps.exclude(rung="").order_by("id").values_list("rung_reason", flat=True)
    assert "429" in reasons[0]
    assert all("left alone until" in reason for reason in reasons[1:])


def test_two_containers_of_one_group_are_both_healed(broken_world: World) -> None:
    pair = [broken_world.services[name] for name in ("first", "second")]
    for service in pair:
        broken_world.docker.kill_process(service.name)
    for service in pair:
        broken_world.wait_up(service, "0")
    incident = broken_world.post(pair[0], group="pair")
    drive_to_status(incident, "proving")
    assert broken_world.post(pair[1], group="pair") == incident  # the second alert comes later
    incident = drive_to_end(incident)
    print(timeline(incident))
    assert incident.verdict == "verified"
    assert {action.target.name for action in incident.actions.all()} == {each.name for each in pair}
    assert all(action.helped for action in incident.actions.all())
    assert all(each.name in incident.remediation_taken for each in pair)
