"""A dashboard: rows of panels, laid out from left to right, and what all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metrics.dashboards.panels import DATASOURCE, Json, Panel

TAG = "ai-agents"
COLUMNS = 24
# Of Grafana 10.0; later ones lift it to their own when they load it.
SCHEMA_VERSION = 38
INSTANCES = "label_values(ai_agents_build_info, instance)"


@dataclass(frozen=True)
class Row:
    """A heading, and panels that take the next line when one is full."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Page:
    """One dashboard, and the name of its file."""

    name: str
    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    since: str = "now-24h"

    def render(self) -> Json:
        """What Grafana imports."""
        return {
            "id": None,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,  # one crosshair through all graphs
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "timezone": "",
            "timepicker": {},
            "annotations": {"list": []},
            "links": [_links()],
            "templating": {"list": [_datasource(), _instance(), _address()]},
            "panels": list(_laid_out(self.rows)),
        }


def _laid_out(rows: tuple[Row, ...]) -> Iterator[Json]:
    number, y = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        number, y = number + 1, y + 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            yield panel.render(number, x, y)
            number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
        y += tallest


def _links() -> Json:
    """All pages, by their tag; they keep the range and the variables."""
    return {
        "type": "dashboards",
        "title": "AI agents",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "current": {},
        "options": [],
        "regex": "",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def _instance() -> Json:
    """Any one replica tells of the whole fleet; the choice matters for what is a process's own."""
    return {
        "type": "query",
        "name": "instance",
        "label": "Instance",
        "datasource": DATASOURCE,
        "definition": INSTANCES,
        "query": {"query": INSTANCES, "refId": "instance"},
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
        "refresh": 2,  # with the range: an instance that is gone is still there for its time
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "hide": 0,
        "skipUrlSync": False,
    }


def _address() -> Json:
    default = "http://127.0.0.1:5000"
    return {
        "type": "textbox",
        "name": "homelab",
        "label": "homelab's address",
        "description": "Where links to incidents lead: PUBLIC_URL.",
        "query": default,
        "current": {"selected": True, "text": default, "value": default},
        "options": [{"selected": True, "text": default, "value": default}],
        "hide": 0,
        "skipUrlSync": False,
    }
