"""A recorded investigation again: on recorded results, by whoever reasons, without a trace in the record."""

from __future__ import annotations

import re
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents import cases, cassette
from agents.agreement import likeness
from agents.loop import Brief
from agents.models import Action, CrewRun, ModelCall, Step, ToolCall
from agents.reasoners import prompts
from agents.tools import REGISTRY, docker
from incidents.models import Event, Incident, Verdict
from tests.e2e import openai_server as oai
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
INSPECT = (
    "container: docker:docker2/jellyfin\nstatus: exited\nrunning: false\nexit_code: 137\noom_killed: false"
)
DATA = {"status": "exited", "running": False, "exit_code": 137, "oom_killed": False, "stopped_by": "crash"}
CALLS: tuple[tuple[str, dict[str, Any], str, dict[str, Any]], ...] = (
    ("docker_inspect", {"container": "docker:docker2/jellyfin"}, INSPECT, DATA),
    ("docker_logs", {"container": "docker:docker2/jellyfin", "lines": 50}, "lines: 1\npanic: no config", {}),
    ("docker_events", {"container": "docker:docker2/jellyfin", "minutes": 60}, "events in 60 min: 0", {}),
    ("recall_incidents", {}, "nothing like this yet", {"count": 0, "incidents": []}),
    ("search_runbooks", {}, "no runbook is about this", {"count": 0, "runbooks": []}),
)
TRIAGE = {"state": "firing", "affected": ["docker:docker2/jellyfin"], "summary": "it is down"}
DIAGNOSIS = {
    "cause": "the process was killed with exit code 137",
    "certainty": "CONFIRMED",
    "claims": [{"text": "its exit code", "call_id": "analyst-1", "quote": "exit_code: 137", "found": True}],
    "dropped": [],
    "code": "",
}
RESTART = {"action": "restart_container", "target": "docker:docker2/jellyfin", "reason": "it was killed"}


def recorded(
    *, verdict: Verdict | None = Verdict.VERIFIED, helped: bool | None = True, **fields: Any
) -> Incident:
    """An incident that a model worked: a container was killed, was restarted, and that helped."""
    target = fields.pop("target", None) or a_target()
    incident = an_incident(verdict=verdict, target=target, **fields)
    an_episode(incident, labels={"alertname": "ServiceDown", "container": "jellyfin"})
    run = CrewRun.objects.create(incident=incident)
    context: dict[str, Any] = {"reading": {"state": "firing", "reason": "the expression is true"}}
    for agent, answer in (("monitor", TRIAGE), ("analyst", DIAGNOSIS), ("healer", RESTART)):
        brief = Brief(
            agent, cases.build(incident), cassette.ANSWER_OF[agent], tuple(REGISTRY.values()), context
        )
        step = Step.objects.create(
            run=run,
            agent=agent,
            state="done",
            rung="model",
            output=answer,
            brief=cassette.record(brief),
            started_at=timezone.now(),
            finished_at=timezone.now(),
        )
        if agent == "analyst":
            for place, (tool, arguments, output, data) in enumerate(CALLS, start=1):
                call = {"call_id": f"analyst-{place}", "tool": tool, "arguments": arguments}
                ToolCall.objects.create(step=step, output=output, data=data, **call)
        context = {"triage": TRIAGE} | ({"diagnosis": DIAGNOSIS} if agent == "analyst" else {})
    if helped is not None:
        Action.objects.create(
            incident=incident,
            step=step,
            kind="restart_container",
            target=target,
            host=target.host,
            reason="it was killed",
            status=Action.Status.DONE,
            digest="0" * 64,
            executing_at=timezone.now(),
            helped=helped,
        )
    return incident


def sensible(request: dict[str, Any], *, action: str = "restart_container") -> Any:
    """Inspects the container, then answers; the Analyst asks for what nobody recorded and invents a quote."""
    names = {tool["function"]["name"] for tool in request["tools"]}
    read = [message["content"] for message in request["messages"] if message["role"] == "tool"]
    if "submit_triage" in names:
        return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))
    if "submit_remediation" in names:
        return oai.call_tools(oai.tool_call("submit_remediation", {**RESTART, "action": action}))
    if not read:
        return oai.call_tools(
            oai.tool_call("docker_inspect", {"container": "docker:docker2/jellyfin"}),
            oai.tool_call("docker_stats", {"container": "docker:docker2/jellyfin"}),
        )
    assert "error: the recording has no such call: docker_stats" in read[1]
    call_id = re.match(r"\[(.*)\]", read[0])[1]
    claims = [
        {"text": "t", "call_id": call_id, "quote": quote} for quote in ("exit_code: 137", "disk is full")
    ]
    answer = {"cause": "it was killed: exit code 137", "certainty": "CONFIRMED", "claims": claims}
    return oai.call_tools(oai.tool_call("submit_diagnosis", answer))


@pytest.fixture(autouse=True)
def _nobody_is_asked(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker is set up, and any question to it fails the test."""
    settings.DOCKER_HOSTS = {"docker2": "http://127.0.0.1:9"}

    def refuse(*_: Any) -> Any:
        raise AssertionError("a replay asked the engine")

    monkeypatch.setattr(docker, "inspect_container", refuse)
    monkeypatch.setattr(docker, "resolve", refuse)


def replay(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command("replay", *map(str, arguments), stdout=out, **options)
    print(out.getvalue())
    return out.getvalue()


def rows() -> list[Any]:
    """All that the record has, to see that a replay adds nothing."""
    tables = (Incident, CrewRun, Step, ToolCall, Action, Event)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def test_the_playbooks_go_over_a_models_incident_and_nothing_is_written() -> None:
    incident = recorded()
    before = rows()
    said = replay(incident.pk)
    assert rows() == before
    assert (
        "CONFIRMED: docker:docker2/jellyfin exited with code 137 without anybody having stopped it." in said
    )
    assert "action       restart_container docker:docker2/jellyfin (recorded: restart_container" in said
    assert "same         action yes, certainty yes, cause code unknown" in said
    assert "right        yes: by the proof yes" in said
    # The playbook for memory, which is tried first, wants what the model had not read.
    assert "tool calls   6, 1 of them are not in the recording" in said
    assert "0 model calls, 0 tokens, $0.000000" in said


def test_another_model_gets_the_recorded_results_and_a_lacking_one_is_said(model) -> None:
    incident = recorded()
    server = model(sensible)
    before = rows()
    said = replay(incident.pk, model=["other-model"])
    assert rows() == before
    assert {chat["model"] for chat in server.chats} == {"other-model"}
    assert "by other-model" in said
    assert "2 claims, 1 of them struck" in said
    assert "tool calls   2, 1 of them are not in the recording" in said
    assert 'not recorded: docker_stats {"container": "docker:docker2/jellyfin"}' in said
    assert re.search(r"4 model calls, \d{3,} tokens, unknown price", said)


def test_what_the_model_is_asked_is_kept_beside_the_record_and_counts_as_spent(model, settings) -> None:
    incident = recorded()
    model(sensible)
    settings.OPENAI_MODEL = "gpt-4o-mini"
    replay(incident.pk, model=["gpt-4o-mini"])
    calls = ModelCall.objects.all()
    assert len(calls) == 4
    assert {call.step for call in calls} == {None}
    assert {call.replay_of.run.incident for call in calls} == {incident}
    assert {call.prompts for call in calls} == {prompts.load().version}
    calls.update(cost_usd="0.01")
    settings.LLM_BUDGET_DAILY_USD = 0.03
    with pytest.raises(CommandError, match=r"daily budget .* a replay counts against it"):
        replay(incident.pk, model=["gpt-4o-mini"])


def test_other_prompts_are_sent_and_named(model, tmp_path: Path) -> None:
    incident = recorded()
    server = model(sensible)
    folder = tmp_path / "terse"
    shutil.copytree(prompts.FOLDER, folder)
    (folder / "analyst.md").write_text("Say why. Finish with {submit}.")
    said = replay(incident.pk, prompts=[folder])
    assert "(terse)" in said
    assert any("Say why. Finish with submit_diagnosis." in str(chat["messages"][0]) for chat in server.chats)
    with pytest.raises(CommandError, match=r"nowhere/common\.md"):
        replay(incident.pk, prompts=[tmp_path / "nowhere"])


def test_a_model_that_gives_no_answer_has_failed_and_is_not_helped_by_the_playbooks(model) -> None:
    incident = recorded()
    model(lambda request: oai.say("It is resolved!"))
    said = replay(incident.pk, model=["m"])
    assert "FAILED       monitor: " in said
    assert "right        NO" in said


def test_several_incidents_make_a_table_with_the_cheapest_that_is_right(model) -> None:
    target = a_target()
    incidents = [recorded(target=target), recorded(target=target, human_cause="killed, exit code 137")]
    model(
        lambda request: sensible(request, action="none" if request["model"] == "timid" else RESTART["action"])
    )
    said = replay(*(each.pk for each in incidents), model=["timid", "bold", "playbooks"])
    lines = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    assert lines["as recorded"][2:5] == ["2", "of", "2"]
    assert lines["bold"][1:4] == ["2", "of", "2"]
    assert lines["timid"][1:4] == ["0", "of", "2"]
    assert "The cheapest that is right wherever it can be told: playbooks" in said


def test_nobody_is_called_right_where_nobody_knows(model) -> None:
    incident = recorded(verdict=Verdict.UNKNOWN, helped=None)
    said = replay(incident.pk, model=["playbooks", "playbooks"])
    assert "right        unknown (nothing was proved, and no person wrote the cause)\n" in said
    assert "What is right cannot be told" in said


def test_an_action_that_did_not_help_is_not_right_a_second_time() -> None:
    incident = recorded(verdict=Verdict.NOT_FIXED, helped=False)
    assert "right        NO: by the proof NO" in replay(incident.pk)


def test_after_a_false_alarm_it_is_right_to_do_nothing(model) -> None:
    incident = recorded(verdict=Verdict.FALSE_ALARM, helped=None)
    model(lambda request: sensible(request, action="none"))
    assert "right        NO" in replay(incident.pk)
    assert "right        yes: by the verdict false_alarm yes" in replay(incident.pk, model=["m"])


def test_the_last_ones_are_found(model) -> None:
    target = a_target()
    first, second = recorded(target=target), recorded(target=target)
    an_incident(alert_name="NotRecorded")
    said = replay(last=1)
    assert f"#{second.pk}" in said
    assert f"#{first.pk}" not in said


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((), {}, "name incidents, or --last N"),
        ((1,), {"last": 1}, "name incidents, or --last N"),
        ((987654,), {}, "no such incident: 987654"),
        ((), {"last": 0}, "at least 1"),
        ((), {"last": 3}, "no incident has a recorded investigation"),
    ],
)
def test_what_cannot_be_replayed_is_an_error(
    arguments: tuple[int, ...], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        replay(*arguments, **options)


def test_an_incident_without_a_recording_is_an_error() -> None:
    incident = an_incident()
    with pytest.raises(CommandError, match=f"incident {incident.pk} has no recorded investigation"):
        replay(incident.pk)


def test_without_a_model_that_is_said(settings) -> None:
    incident = recorded()
    with pytest.raises(CommandError, match="no model is configured"):
        replay(incident.pk, model=["m"])
    with pytest.raises(CommandError, match="http"):
        replay(incident.pk, model=["m"], base_url="ftp://x")


def test_another_server_does_not_get_our_key(model, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = recorded()
    server = model(sensible)
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "our-key", "https://api.example/v1"
    replay(incident.pk, model=["m"], base_url=server.base_url)
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer none"}
    monkeypatch.setenv("THEIR_KEY", "their-key")
    replay(incident.pk, model=["m"], base_url=server.base_url, key_env="THEIR_KEY")
    assert server.requests[-1].headers["authorization"] == "Bearer their-key"
    with pytest.raises(CommandError, match="NO_SUCH is not set"):
        replay(incident.pk, model=["m"], base_url=server.base_url, key_env="NO_SUCH")


@pytest.mark.parametrize(
    ("said", "other", "share"),
    [
        ("disk full", "The disk is FULL", 1.0),
        ("disk full", "memory", 0.0),
        ("", "x", None),
        ("a 137", "137", 1.0),
    ],
)
def test_causes_are_compared_by_their_words(said: str, other: str, share: float | None) -> None:
    assert likeness(said, other) == share
