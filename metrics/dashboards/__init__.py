"""Grafana's dashboards, made from code: `python -m metrics.dashboards` writes metrics/grafana/*.json."""

from __future__ import annotations

import json

from metrics.dashboards import cost, crew, health, incidents, overview

PAGES = (overview.PAGE, incidents.PAGE, crew.PAGE, cost.PAGE, health.PAGE)


def files() -> dict[str, str]:
    """The text of each dashboard, by its file's name."""
    return {f"{page.name}.json": json.dumps(page.render(), indent=2) + "\n" for page in PAGES}
