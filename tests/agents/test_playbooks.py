"""Playbooks: conditions on typed readings, quotes from what was read, names that nobody knew before."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from agents import playbooks
from agents.answers import Diagnosis, Remediation
from agents.loop import Brief, Limits, Observation, Request, Toolbox, run_agent
from agents.reasoners.playbook import PlaybookReasoner
from agents.tools import REGISTRY
from agents.tools.base import Case

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
EXITED = {"status": "exited", "running": False, "oom_killed": False, "exit_code": 137, "restart_count": 0}
RUNNING = {"status": "running", "running": True, "oom_killed": False, "restart_count": 0, "health": None}


def case(**changes: Any) -> Case:
    name = f"c{secrets.token_hex(4)}"
    fields: dict[str, Any] = {
        "incident_id": 1,
        "alert_name": f"Alert{secrets.token_hex(4)}",
        "severity": "critical",
        "labels": {"instance": f"{name}:80"},
        "annotations": {},
        "starts_at": STARTED,
        "target": f"docker:h/{name}",
        "target_kind": "docker",
    }
    return Case(**{**fields, **changes})


def diagnose(about: Case, readings: dict[str, dict[str, Any]]) -> Diagnosis:
    """The playbooks' diagnosis when the tools read this; tools without a reading answered nothing."""
    seen: list[Observation] = []
    for book in playbooks.fitting(about):
        for read in book.reads(about):
            if read.name in readings:
                data = readings[read.name]
                text = "\n".join(f"{key}: {_shown(value)}" for key, value in data.items())
                seen.append(
                    Observation(Request(f"analyst-{len(seen)}", read.tool, read.arguments), text, text, data)
                )
    answer = PlaybookReasoner().next_turn(Brief("analyst", about, Diagnosis), seen, final=True).answer
    assert answer is not None
    return Diagnosis.model_validate(answer)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


DOWN = {"targets": [{"health": "down", "last_error": "dial tcp: connect: connection refused"}], "down": 1}
DOCKER: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("container_exited.crashed", {"docker_inspect": {**EXITED, "stopped_by": "crash"}}),
    ("container_exited.stopped_by_hand", {"docker_inspect": {**EXITED, "stopped_by": "person"}}),
    ("container_exited.exited", {"docker_inspect": {**EXITED, "stopped_by": "unknown"}}),
    ("container_exited.crash_loop", {"docker_inspect": {**EXITED, "status": "restarting"}}),
    ("container_oom.killed", {"docker_inspect": {**EXITED, "oom_killed": True, "stopped_by": "crash"}}),
    ("container_oom.near_limit", {"docker_inspect": RUNNING, "docker_stats": {"memory_percent": 97.5}}),
    ("container_unhealthy.unhealthy", {"docker_inspect": {**RUNNING, "health": "unhealthy"}}),
]


@pytest.mark.parametrize(("code", "readings"), DOCKER, ids=[each[0] for each in DOCKER])
def test_a_container_is_diagnosed_by_its_state_whatever_it_and_its_alert_are_called(
    code: str, readings: dict[str, dict[str, Any]]
) -> None:
    found = diagnose(case(), readings)
    assert found.code == code
    assert all(claim.quote for claim in found.claims)


def test_a_scrape_target_that_refuses_without_a_container() -> None:
    about = case(target=None, target_kind=None, expression='up{job="x"} == 0')
    assert diagnose(about, {"prometheus_targets": DOWN}).code == "scrape_target_down.refused"


def test_a_container_that_runs_and_does_not_serve() -> None:
    about = case(expression="up == 0")
    readings = {"docker_inspect": RUNNING, "prometheus_targets": DOWN}
    assert diagnose(about, readings).code == "scrape_target_down.runs_but_silent"


def test_a_disk_that_fills() -> None:
    about = case(
        target=None,
        target_kind=None,
        expression="node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1",
        labels={"instance": "nas:9100", "mountpoint": "/data"},
    )
    rows = {"share": {"rows": [{"value": 8.0}]}, "hours": {"rows": [{"value": 5.0}]}}
    assert diagnose(about, rows).code == "disk_filling.filling"
    assert diagnose(about, {"share": {"rows": [{"value": 8.0}]}}).code == "disk_filling.full"


def test_an_http_probe_with_an_error_of_the_server() -> None:
    about = case(target=None, target_kind=None, expression="probe_success == 0")
    assert diagnose(about, {"status": {"rows": [{"value": 503.0}]}}).code == "http_probe.server_error"


def test_an_alert_that_nobody_wrote_a_playbook_for_gets_its_facts() -> None:
    about = case(target=None, target_kind=None, expression="node_load5 > 4", labels={"instance": "nas:9100"})
    firing = {"state": "firing", "expression": "node_load5 > 4", "value": 7.2}
    found = diagnose(about, {"alert_expression": firing, "firing_on_target": {"firing": 0}})
    assert found.code == "general.alone"
    assert found.certainty == "INCONCLUSIVE"
    assert {claim.quote for claim in found.claims} >= {"expression: node_load5 > 4", "value: 7.2"}


def test_unknown_readings_meet_no_condition() -> None:
    assert diagnose(case(), {}).code in ("general.unknown", "")
    assert not playbooks.meets(None, False)
    assert not playbooks.meets(None, {"not": 1})
    assert not playbooks.meets("5", {"gt": 1})
    assert playbooks.meets(None, {"known": False})


def test_a_read_that_lacks_what_it_needs_is_left_out() -> None:
    about = case(target=None, target_kind=None, expression="disk_used_bytes > 1", labels={})
    assert [
        read.name
        for book in playbooks.fitting(about)
        if book.name == "disk_filling"
        for read in book.reads(about)
    ] == ["recall_incidents"]


def test_label_values_are_quoted_as_promql() -> None:
    about = case(
        labels={"instance": 'a"} or up{b="', "mountpoint": "/"}, expression="node_filesystem_avail_bytes < 1"
    )
    [book] = [each for each in playbooks.fitting(about) if each.name == "disk_filling"]
    assert 'instance="a\\"} or up{b=\\""' in book.reads(about)[0].arguments["expr"]


def test_every_playbook_names_tools_and_actions_that_exist() -> None:
    for book in playbooks.load():
        names = {spec.name or spec.tool for spec in book.read}
        for spec in book.read:
            assert spec.tool in REGISTRY, f"{book.name}: {spec.tool}"
        for cause in book.causes:
            assert cause.action in (None, "restart_container"), f"{book.name}.{cause.name}"
            assert {claim.read for claim in cause.claims} <= names, f"{book.name}.{cause.name}"
            paths = {path.split(".")[0] for path in cause.when}
            assert paths <= names | {"case", "label"}, f"{book.name}.{cause.name}"


def heal(about: Case, code: str) -> Remediation:
    brief = Brief("healer", about, Remediation, (), {"diagnosis": {"code": code, "cause": "because"}})
    return run_agent(brief, PlaybookReasoner(), Toolbox(brief, lambda _: None), Limits())


def test_the_healer_proposes_for_the_bound_target_only() -> None:
    about = case()
    assert heal(about, "container_exited.crashed").target == about.target
    unbound = heal(case(target=None, candidates=("docker:a/x", "docker:b/x")), "container_exited.crashed")
    assert unbound.action == "none"
    assert "docker:a/x, docker:b/x" in unbound.reason
    assert heal(about, "container_exited.crash_loop").action == "none"
    assert heal(about, "no.such").action == "none"
