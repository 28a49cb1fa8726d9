"""The owner's maintenance: an argument list with typed values, and nothing that a value says is obeyed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import transaction
from django.utils import timezone

from agents import actions, judgement, maintenance, proof, services
from agents.advance import advance
from agents.changes import process
from agents.changes.maintenance import MAINTENANCE
from agents.kinds import ActionKind
from agents.maintenance import BadValue, Maintenance, filled
from agents.models import Action, Step
from agents.reading import ExpressionState
from agents.tools.base import ToolError
from incidents.models import Event, Target
from tests.agents.rows import a_run
from tests.agents.test_container_changes import Killed, status
from tests.e2e.process import wait_until
from tests.incidents.rows import an_episode, an_incident

ENTRY: dict[str, Any] = {
    "name": "prune",
    "description": "Removes old images.",
    "targets": ["docker:nas/*", "disk:pi/data"],
    "command": ["echo", "--days={days}", "{depth}", "{container}"],
    "parameters": {
        "days": {"type": "integer", "min": 1, "max": 30},
        "depth": {"type": "choice", "choices": ["shallow", "deep", "{days}"]},
        "container": {"type": "target_name"},
    },
}
GIVEN = {"name": "prune", "parameters": {"days": 7, "depth": "deep"}}


def entry(**fields: Any) -> Maintenance:
    return Maintenance.model_validate({**ENTRY, **fields})


def target(name: str = "data", kind: str = "disk", host: str = "pi") -> Target:
    return Target(key=f"{kind}:{host}/{name}", kind=kind, host=host, name=name)


def wish(given: dict[str, Any] | None = None, about: Target | None = None) -> Action:
    action = Action(kind=ActionKind.RUN_MAINTENANCE, target=about or target())
    action.arguments = actions.prepared(action, GIVEN if given is None else given)
    return action


@pytest.fixture
def declared(settings: Any) -> Any:
    def declare(**fields: Any) -> None:
        settings.MAINTENANCE = (entry(**fields),)

    declare()
    return declare


# --- the file ----------------------------------------------------------------------------------------


def load(tmp_path: Path, *entries: Any) -> tuple[Maintenance, ...]:
    path = tmp_path / "maintenance.yml"
    path.write_text(yaml.safe_dump(list(entries)))
    return maintenance.load(path)


def test_a_file_is_read_and_its_programs_are_found(tmp_path: Path) -> None:
    [made] = load(tmp_path, ENTRY)
    assert Path(made.command[0]).is_absolute()
    assert made.fits("docker:nas/web")
    assert not made.fits("docker:pi/web")


BAD: dict[str, dict[str, Any]] = {
    "no parameter is named who": {"command": ["echo", "{who}", "{days}{depth}{container}"]},
    "nothing uses the parameter depth": {"command": ["echo", "{days}", "{container}"]},
    "there is no program 'no-such-program'": {"command": ["no-such-program"], "parameters": {}},
    "there is no program '{container}'": {"command": ["{container}", "{days}", "{depth}"]},
    "takes a shell string": {"command": ["sh", "-c", "echo {days} {depth} {container}"]},
    "an integer wants min and max": {"parameters": {**ENTRY["parameters"], "days": {"type": "integer"}}},
    "less than or equal to 90": {"timeout_seconds": 91},
    "Extra inputs are not permitted": {"shell": True},
    "wants choices": {"parameters": {**ENTRY["parameters"], "depth": {"type": "choice"}}},
    "would be read as an option": {
        "parameters": {**ENTRY["parameters"], "depth": {"type": "choice", "choices": ["-rf"]}}
    },
    "String should match pattern": {"name": "prune everything"},
    "Input should be a valid tuple": {"command": "echo hello"},
    "at least 1 item": {"targets": []},
}


@pytest.mark.parametrize("told", BAD)
def test_a_bad_entry_is_named_with_what_is_wrong(tmp_path: Path, told: str) -> None:
    with pytest.raises(ValueError, match=r"maintenance\.yml: entry 2 \(") as caught:
        load(tmp_path, {**ENTRY, "name": "fine"}, {**ENTRY, **BAD[told]})
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["name: prune", "- [", "- 5", "\x00"])
def test_a_file_that_is_no_list_of_entries_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "maintenance.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"maintenance\.yml"):
        maintenance.load(path)


def test_two_of_a_name_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another of that name"):
        load(tmp_path, ENTRY, ENTRY)


# --- values ------------------------------------------------------------------------------------------

HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"days": "7; rm -rf /", "depth": "deep"}, "is no integer"),
    ({"days": "7\n8", "depth": "deep"}, "is no integer"),
    ({"days": "\u0667", "depth": "deep"}, "is no integer"),  # a digit, elsewhere
    ({"days": "-1", "depth": "deep"}, "is not from 1 to 30"),
    ({"days": 31, "depth": "deep"}, "is not from 1 to 30"),
    ({"days": 7, "depth": "--all"}, "is none of"),
    ({"days": 7, "depth": "deep\n"}, "is none of"),
    ({"days": 7, "depth": "$(id)"}, "is none of"),
    ({"days": 7}, "depth: is missing"),
    ({"days": 7, "depth": "deep", "force": "yes"}, "no parameter is named force"),
    ({"days": 7, "depth": "deep", "container": "database"}, "is the target's own name"),
]


@pytest.mark.parametrize(("given", "told"), HOSTILE)
def test_a_value_that_was_not_declared_is_refused(declared: Any, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError, match=told):
        wish({"name": "prune", "parameters": given})


@pytest.mark.parametrize("name", ["-rf", "a b", "a\nb", "../etc", "$(id)", "{days}", ""])
def test_a_target_whose_name_is_no_name_is_not_put_into_a_command(name: str) -> None:
    values = {"days": 7, "depth": "deep"}
    with pytest.raises(BadValue, match="is no name for an argument"):
        entry().values(values, name)


def test_a_value_is_put_in_once_and_stays_one_argument(declared: Any) -> None:
    made = wish({"name": "prune", "parameters": {"days": "07", "depth": "{days}"}})
    assert made.arguments["argv"][1:] == ["--days=7", "{days}", "data"]


def test_a_value_never_becomes_an_option() -> None:
    with pytest.raises(BadValue, match="would be read as an option"):
        filled(["echo", "{what}"], {"what": "-n"})


def test_what_is_not_declared_for_a_target_is_refused_with_what_is(declared: Any) -> None:
    with pytest.raises(ToolError, match=r"no maintenance 'format' is declared for disk:pi/data; .*: prune"):
        wish({"name": "format", "parameters": {}})
    with pytest.raises(ToolError, match="there is no such change of docker:moon/web here"):
        wish(about=target("web", "docker", "moon"))


@pytest.mark.parametrize("given", [{}, {"name": "prune", "argv": ["rm"]}, {"name": ["prune"]}])
def test_arguments_of_another_form_are_refused(declared: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="wrong arguments"):
        wish(given)


def test_the_arguments_are_what_an_approval_approves(declared: Any) -> None:
    """Another command of that name in the file is not what was approved."""
    made = wish()
    state = MAINTENANCE.state(made)
    actions.checked(made)
    declared(command=["printf", "--days={days}", "{depth}", "{container}"])
    for ask in (MAINTENANCE.state, MAINTENANCE.run, MAINTENANCE.touches):
        with pytest.raises(ToolError, match="is declared otherwise by now"):
            ask(made)
    declared(check=["true"])
    before, now = (
        actions.digest(made.kind, made.target, made.arguments, each)
        for each in (state, MAINTENANCE.state(made))
    )
    assert before != now


def test_arguments_that_somebody_changed_meanwhile_are_refused(declared: Any) -> None:
    made = wish()
    made.arguments = {**made.arguments, "shell": "sh"}
    with pytest.raises(ToolError, match="wrong arguments: shell"):
        actions.checked(made)


# --- running -----------------------------------------------------------------------------------------


def test_what_it_writes_is_its_result(declared: Any) -> None:
    assert MAINTENANCE.run(wish()) == "exit code 0\n--days=7 deep data"


def test_a_command_that_fails_failed(declared: Any) -> None:
    declared(command=["ls", "/no-such-folder/{days}{depth}{container}"])
    with pytest.raises(ToolError, match=r"^exit code 2\n.*no-such-folder") as caught:
        MAINTENANCE.run(wish())
    assert not caught.value.unanswered


@pytest.mark.parametrize(("check", "happened"), [(None, None), (["true"], True), (["false"], None)])
def test_only_its_own_check_tells_whether_it_was_done(
    declared: Any, check: list[str] | None, happened: bool | None
) -> None:
    declared(check=check)
    made = wish()
    assert MAINTENANCE.happened(made, {}) is happened
    if check == ["false"]:
        with pytest.raises(ToolError, match="its check says that it was not done"):
            MAINTENANCE.run(made)


def test_a_check_that_cannot_be_made_takes_nothing_back(
    declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(check=["true"])
    made = wish()
    run = process.run

    def no_check(argv: list[str], *, seconds: float) -> process.Ran:
        if argv[0].endswith("true"):
            raise ToolError("it cannot be started")
        return run(argv, seconds=seconds)

    monkeypatch.setattr(process, "run", no_check)
    assert MAINTENANCE.run(made).endswith("its check could not be made: it cannot be started")
    assert MAINTENANCE.happened(made, {}) is None


def test_the_dry_run_tells_the_exact_list_and_what_the_owners_own_says(declared: Any) -> None:
    said = actions.dry_run(wish())
    assert "echo --days=7 deep data on the worker's machine" in said
    assert "it declares no dry run" in said
    declared(dry_run=["echo", "would remove {days} days; password=hunter2"])
    assert "(exit code 0): would remove 7 days; password=[redacted]" in actions.dry_run(wish())


def test_a_command_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = "import json, os; print(json.dumps([sorted(os.environ), os.getcwd()]))"
    ran = process.run([sys.executable, "-I", "-c", code], seconds=20)
    names, folder = json.loads(ran.output)
    assert set(names) <= {*process.KEPT, "LC_CTYPE"}
    assert folder != os.getcwd()
    assert not Path(folder).exists()


def test_no_shell_reads_an_argument() -> None:
    assert (
        process.run(["echo", "$(id); `id` && x > /tmp/x"], seconds=20).output == "$(id); `id` && x > /tmp/x"
    )


def test_of_a_long_output_the_end_is_kept() -> None:
    ran = process.run([sys.executable, "-c", "print('x' * 10_000_000 + 'the end')"], seconds=60)
    assert ran.output == "end"  # without the word that was cut
    assert len(ran.output) <= process.MAX_OUTPUT


def test_what_is_not_done_in_time_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    told = tmp_path / "child"
    script = f"sleep 60 & echo $! > {told}; wait"
    with pytest.raises(ToolError, match="was not done in 1 s and was killed"):
        process.run(["sh", "-c", script], seconds=1)
    stat = Path(f"/proc/{told.read_text().strip()}/stat")

    def is_gone() -> bool:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(is_gone, 10, "the child of a killed command lives on")


def test_a_program_that_cannot_be_started_is_told() -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        process.run(["/no/such/program"], seconds=5)


# --- by the executor ---------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("check", "ends"),
    [
        (["true"], Action.Status.DONE),
        (["false"], Action.Status.UNKNOWN),
        (None, Action.Status.UNKNOWN),
    ],
)
def test_a_worker_killed_in_the_call_is_reconciled_by_the_check_and_it_is_not_run_again(
    declared: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, check: list[str] | None, ends: str
) -> None:
    ran = tmp_path / "ran"
    declared(check=check, command=["touch", str(ran)], parameters={}, dry_run=None)
    made = wish({"name": "prune"})
    action, step = an_approved(made, monkeypatch)

    def die(action: Action) -> str:
        process.run(action.arguments["argv"], seconds=20)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(actions.SPECS, made.kind, replace(MAINTENANCE, run=die))
        with pytest.raises(Killed):
            advance(step.pk)
    ran.unlink()
    long_ago = timezone.now() - timedelta(minutes=10)
    Action.objects.filter(pk=action.pk).update(executing_at=long_ago)
    Step.objects.filter(pk=step.pk).update(lease_until=long_ago)
    advance(step.pk)
    assert status(action) == ends
    assert not ran.exists()


@pytest.mark.django_db
def test_its_output_is_kept_with_the_action_and_redacted(
    declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(command=["echo", "token={depth}", "password=hunter2", "{days}", "{container}"])
    action, step = an_approved(wish(), monkeypatch)
    advance(step.pk)
    assert status(action) == Action.Status.DONE
    assert action.result.startswith("exit code 0\n")
    assert "hunter2" not in action.result


@pytest.mark.django_db
def test_what_is_declared_otherwise_after_the_yes_is_not_run(
    declared: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    action, step = an_approved(wish(), monkeypatch)
    declared(command=["printf", "{days}{depth}{container}"])
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    event = Event.objects.get(kind=Event.Kind.REFUSED)
    assert [each["code"] for each in event.data["reasons"]] == ["unread"]
    assert "declared otherwise by now" in action.result


def an_approved(made: Action, monkeypatch: pytest.MonkeyPatch) -> tuple[Action, Step]:
    """The wish as an approved action of an incident, with its executor's step."""
    look = judgement.Look(ExpressionState.FIRING, "the expression is true")
    monkeypatch.setattr(proof, "observe_target", lambda incident, target: look)
    about = made.target
    about.save()
    incident = an_incident(status="acting", target=about)
    an_episode(incident)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    state = MAINTENANCE.state(made)
    action = services.draft(
        healer,
        kind=ActionKind.RUN_MAINTENANCE,
        target=about,
        reason="",
        state=state,
        arguments=made.arguments,
    )
    action.status, action.decided_by, action.by_person = Action.Status.APPROVED, "alice", True
    action.save()
    with transaction.atomic():
        return action, services.add_step(healer.run, Step.Agent.EXECUTOR, output={"action": action.pk})


def test_output_that_is_cut_begins_with_a_whole_line() -> None:
    """The rest of `password=…` would not be known for a secret."""
    words = "print('password=hunter2hunter2 ' + 'x ' * 1985); print('done')"
    ran = process.run([sys.executable, "-c", words], seconds=20)
    assert ran.output == "done"
