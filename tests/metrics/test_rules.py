"""The rules for Prometheus: read by it, right by their own tests, and over metrics that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from incidents.alertmanager import COMPONENT
from tests.conftest import Api
from tests.e2e.process import binary
from tests.e2e.require import require

from .prometheus import PROMETHEUS, families_in, metrics_in, promtool

ALERTS, RECORDING = PROMETHEUS / "alerts.yml", PROMETHEUS / "recording.yml"
TESTS = sorted((PROMETHEUS / "tests").glob("*_test.yml"))


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def test_prometheus_reads_the_rules() -> None:
    checked = promtool("check", "rules", ALERTS, RECORDING)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_job_and_the_rules_make_one_configuration(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    scrape = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())
    config.write_text(yaml.safe_dump({**scrape, "rule_files": [str(ALERTS), str(RECORDING)]}))
    checked = promtool("check", "config", config)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    [job] = scrape["scrape_configs"]
    assert (job["job_name"], job["scrape_interval"]) == ("ai-agents", "30s")
    [target] = job["static_configs"]
    assert target["targets"] == ["homelab-agents:5000"]
    assert target["labels"] == {"instance": "homelab-agents", "service": "autonomous-incident-response"}


def test_alerts_about_homelab_go_past_it() -> None:
    """The example for Alertmanager is one that it reads, and routes by the label that all of ours have."""
    require("alertmanager")
    path = PROMETHEUS / "alertmanager.yml"
    for label, receiver in ((f"component={COMPONENT}", "people"), ("component=other", "homelab")):
        command = [binary("amtool"), "config", "routes", "test", f"--config.file={path}", label]
        routed = subprocess.run(command, capture_output=True, text=True, check=True)
        assert routed.stdout.strip() == receiver


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_else(path: Path) -> None:
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_no_alert_and_no_test_was_forgotten() -> None:
    """Each alert fires in a test, and each file of tests has moments when nothing does."""
    fired = set()
    for path in TESTS:
        looks = [
            look for test in yaml.safe_load(path.read_text())["tests"] for look in test["promql_expr_test"]
        ]
        fired |= {
            name
            for look in looks
            for sample in look["exp_samples"]
            for name in re.findall('alertname="([^"]+)"', sample.get("labels", ""))
        }
        assert any(look["exp_samples"] == [] for look in looks), path
    assert fired == {rule["alert"] for rule in rules(ALERTS)}


@pytest.mark.parametrize("rule", rules(ALERTS), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_next(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("AIAgents")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["labels"]["component"] == COMPONENT  # by which it is routed past homelab
    assert rule["annotations"].keys() == {"summary", "description"}
    assert len(rule["annotations"]["summary"]) < 100
    assert len(rule["annotations"]["description"]) > 100


@pytest.mark.django_db
def test_every_metric_that_a_rule_reads_is_there(api: Callable[[str | None], Api]) -> None:
    recorded = {rule["record"] for rule in rules(RECORDING)}
    families = families_in(api(None).get("/metrics").content.decode())
    for rule in rules(ALERTS) + rules(RECORDING):
        assert metrics_in(rule["expr"]) <= families, rule
        assert set(re.findall(r"job:\w+:\w+", rule["expr"])) <= recorded, rule
