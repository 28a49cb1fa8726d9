"""What a model is told: files with a version, the stable part first, nothing twice, nothing struck."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.answers import ANSWERS, Diagnosis, Triage
from agents.loop import Brief
from agents.reasoners import prompts
from agents.schemas import schema_of
from agents.tools import REGISTRY
from agents.tools.base import Case

CASE = Case(
    incident_id=1,
    alert_name="Down",
    severity="critical",
    labels={"alertname": "Down", "severity": "critical", "instance": "nas:9100"},
    annotations={"summary": "it is down", "password": "hunter2"},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def told(context: dict[str, Any]) -> dict[str, Any]:
    text = prompts.case(Brief("analyst", CASE, Diagnosis, (), context))
    return dict(json.loads(text.removeprefix("<untrusted>\n").removesuffix("\n</untrusted>")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(prompts.FOLDER, tmp_path / "mine"))


def test_the_version_follows_every_file(folder: Path) -> None:
    ours = prompts.load()
    assert prompts.load(folder).version == ours.version
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "healer.md").write_text("Do {submit}. {braces} are harmless.")
    assert prompts.load(other).version != ours.version
    assert (
        prompts.load(other)
        .system("healer", "submit_remediation")
        .endswith("Do submit_remediation. {braces} are harmless.")
    )


@pytest.mark.parametrize("broken", ["missing", "empty"])
def test_a_prompt_that_is_not_there_is_named(folder: Path, broken: str) -> None:
    path = folder / "monitor.md"
    if broken == "missing":
        path.unlink()
    else:
        path.write_text(" \n")
    with pytest.raises(prompts.PromptError, match=r"mine/monitor\.md"):
        prompts.load(folder)


def test_each_agent_is_told_who_it_is_and_how_to_finish() -> None:
    for agent, submit in (("monitor", "submit_triage"), ("analyst", "submit_diagnosis")):
        system = prompts.load().system(agent, submit)
        assert f"You are the {agent.title()}" in system
        assert f"Finish by calling {submit}." in system
        assert len(system) < 1_500


def test_the_case_says_nothing_twice_and_leaves_out_what_is_not_known() -> None:
    facts = told({})
    assert facts["labels"] == {"instance": "nas:9100"}
    assert facts["annotations"] == {"summary": "it is down", "password": "[redacted]"}
    assert "expression" not in facts
    assert facts["target"] is None  # that there is none, the agent must know


def test_colleagues_findings_are_told_without_struck_claims() -> None:
    reading = {
        "state": "firing",
        "reason": "it is true",
        "newest": {"up": 1.0},
        "fresh": ["up"],
        "value": None,
    }
    triage = {"state": "firing", "affected": ["nas"], "summary": "real", "reading": reading}
    claims = [
        {"text": "t", "call_id": "c1", "quote": "exit_code: 137", "found": True},
        {"text": "t", "call_id": "c1", "quote": "the disk is full", "found": False},
    ]
    diagnosis = {"cause": "killed", "certainty": "CONFIRMED", "claims": claims, "dropped": [], "code": "x.y"}
    facts = told({"reading": reading, "triage": triage, "diagnosis": diagnosis})
    assert facts["reading"] == {"state": "firing", "reason": "it is true"}
    assert facts["triage"] == {"state": "firing", "affected": ["nas"], "summary": "real"}
    assert facts["diagnosis"] == {"cause": "killed", "certainty": "CONFIRMED", "evidence": ["exit_code: 137"]}


@pytest.mark.parametrize("name", REGISTRY)
def test_a_tools_schema_is_small_and_names_each_argument(name: str) -> None:
    tool = REGISTRY[name]
    schema = tool.schema
    assert set(schema.get("properties", {})) == set(tool.arguments.model_fields)
    assert "title" not in json.dumps(schema)
    assert len(json.dumps(schema)) < 400


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answers_schema_has_no_references_and_hides_what_is_not_the_models(name: str) -> None:
    schema = schema_of(ANSWERS[name])
    text = json.dumps(schema)
    assert "$ref" not in text
    assert "code" not in schema["properties"]
    assert len(text) < 700
    assert schema["required"]


def test_an_optional_field_is_not_required_and_keeps_its_type() -> None:
    schema = schema_of(ANSWERS["submit_remediation"])
    assert schema["properties"]["target"]["type"] == "string"
    assert "target" not in schema["required"]


def test_a_field_called_title_is_kept() -> None:
    class Titled(Triage):
        title: str

    assert "title" in schema_of(Titled)["properties"]
