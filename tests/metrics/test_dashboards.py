"""The dashboards: what the code makes, as Grafana loads it, over metrics that exist."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics import dashboards
from tests.conftest import Api

from .prometheus import GRAFANA, families_in, metrics_in, promtool

PAGES = {name: json.loads(text) for name, text in dashboards.files().items()}
# Grafana's own are replaced by what it would put there.
VARIABLES = {"$instance": ".*", "$__range": "1h", "$__rate_interval": "2m", "$__interval": "1m"}


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def queries(page: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and PromQL, with values in place of variables."""
    for panel in panels(page):
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)
            yield panel["title"], expr


def test_the_files_are_what_the_code_makes() -> None:
    """`make dashboards` writes them."""
    assert {path.name: path.read_text() for path in GRAFANA.glob("*.json")} == dashboards.files()


def test_grafana_is_told_where_they_are() -> None:
    """The provider's folder holds dashboards only; Grafana passes over what is no JSON."""
    provided = yaml.safe_load((GRAFANA / "provisioning" / "dashboards.yml").read_text())
    [provider] = provided["providers"]
    assert (provided["apiVersion"], provider["type"]) == (1, "file")
    assert provider["options"]["path"].startswith("/")


def test_pages_lead_to_each_other() -> None:
    assert (
        len({page["uid"] for page in PAGES.values()}) == len({page["title"] for page in PAGES.values()}) == 5
    )
    assert PAGES["overview.json"]["uid"] == "ai-agents-dashboard"
    for page in PAGES.values():
        [link] = page["links"]
        assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True)
        assert set(link["tags"]) <= set(page["tags"])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_that_grafana_loads(name: str) -> None:
    page = PAGES[name]
    assert page["id"] is None  # Grafana gives it one
    assert page["refresh"] == "30s"
    assert page["schemaVersion"] == 38
    ids = [panel["id"] for panel in page["panels"]]
    assert len(ids) == len(set(ids))
    variables = {each["name"]: each["type"] for each in page["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query", "homelab": "textbox"}


@pytest.mark.parametrize("name", PAGES)
def test_panels_lie_beside_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in PAGES[name]["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (
            one,
            other,
        )


@pytest.mark.parametrize("name", PAGES)
def test_panels_say_what_they_show(name: str) -> None:
    for panel in panels(PAGES[name]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_what_is_not_a_number_is_said_in_words() -> None:
    shown = {panel["title"]: panel["fieldConfig"]["defaults"] for panel in panels(PAGES["overview.json"])}
    for title in ("Success rate", "Average resolution time"):
        stat = next(panel for panel in panels(PAGES["overview.json"]) if panel["title"] == title)
        [special] = stat["fieldConfig"]["defaults"]["mappings"]
        assert special["options"]["match"] == "null+nan"
        assert special["options"]["result"]["text"] == "nothing closed yet"
    assert shown["Service status"]["mappings"][1]["options"]["0"]["text"] == "DOWN"


def test_the_panels_of_the_seed_are_all_there() -> None:
    kinds = {panel["title"]: panel["type"] for panel in panels(PAGES["overview.json"])}
    assert kinds["Incidents by severity"] == "piechart"
    assert kinds["Recent incidents"] == "table"
    wanted = {"Total incidents", "Success rate", "Average resolution time", "Service status"}
    trends = {"Resolution time", "Incidents over time", "Success rate", "Critical and warning"}
    assert wanted | trends <= kinds.keys()


def test_an_incident_leads_to_its_record() -> None:
    [table] = [panel for panel in panels(PAGES["overview.json"]) if panel["type"] == "table"]
    [override] = table["fieldConfig"]["overrides"]
    [link] = [each["value"][0]["url"] for each in override["properties"] if each["id"] == "links"]
    assert override["matcher"]["options"] == "incident"
    assert link == "${homelab:raw}/admin/incidents/incident/${__value.raw}/change/"


def test_every_query_is_promql(tmp_path: Path) -> None:
    found = [expr for page in PAGES.values() for _title, expr in queries(page)]
    rules = [{"record": f"panel:query:{place}", "expr": expr} for place, expr in enumerate(found)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not [expr for expr in found if "$" in expr]


TWO_REPLICAS = {
    # series without their labels job and instance: values, a minute apart, which both replicas tell
    "ai_agents_incidents_total": "7x70",
    'ai_agents_incidents_opened_total{severity="critical", source="alertmanager"}': "40x31 43x39",
    'ai_agents_incidents_opened_total{severity="warning", source="alertmanager"}': "9x31 11x39",
    'ai_agents_webhook_answers_total{code="200"}': "0+60x70",
}
SHOWN = {
    # page, panel: what it shows after an hour, but the bars: those of the minute in which it happened
    ("overview.json", "Total incidents"): {"{}": 7},
    ("incidents.json", "Opened"): {"{}": 5},
    ("incidents.json", "Opened by severity"): {'{severity="critical"}': 3, '{severity="warning"}': 2},
    ("health.json", "Answers to the webhook"): {'{code="200"}': 2},
}


def test_two_replicas_are_one_fleet_and_few_incidents_are_whole_numbers(tmp_path: Path) -> None:
    """What both tell counts once, and what each does counts twice."""
    series = []
    for replica in ("a", "b"):
        for name, values in TWO_REPLICAS.items():
            metric, _, labels = name.rstrip("}").partition("{")
            whole = ", ".join(filter(None, [labels, f'job="ai-agents", instance="{replica}"']))
            series.append({"series": f"{metric}{{{whole}}}", "values": values})
    looks = [
        {
            "expr": expr,
            "eval_time": "32m" if title == "Opened by severity" else "60m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in shown.items()],
        }
        for (name, wanted), shown in SHOWN.items()
        for title, expr in queries(PAGES[name])
        if title == wanted
    ]
    assert len(looks) == len(SHOWN)
    path = tmp_path / "panels_test.yml"
    path.write_text(
        yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": looks}]})
    )
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.django_db
def test_every_metric_that_a_panel_shows_is_there(api: Callable[[str | None], Api]) -> None:
    families = families_in(api(None).get("/metrics").content.decode())
    for page in PAGES.values():
        for title, expr in queries(page):
            assert metrics_in(expr) <= families, title
