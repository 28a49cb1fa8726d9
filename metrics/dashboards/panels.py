"""Grafana's panels, as far as the dashboards need them, in the JSON of Grafana 10 and 11."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
GOOD, POOR, BAD, NEUTRAL = "green", "orange", "red", "blue"
# Of what a legend shows, so that it has the same colour on each page.
COLOURS = {
    "{{severity}}": {"critical": BAD, "warning": POOR, "info": NEUTRAL, "other": "#8e8e8e"},
    "{{verdict}}": {"verified": GOOD, "not_fixed": BAD, "relapsed": BAD, "unknown": POOR},
    "{{rung}}": {"model": NEUTRAL, "fallback": POOR, "playbooks": "purple", "template": "#8e8e8e"},
}
NOTHING_CLOSED = "nothing closed yet"


@dataclass(frozen=True)
class Query:
    """PromQL; `legend` as Grafana's, with {{label}}."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel of so many of the 24 columns. `instant`: its queries ask for the last value only."""

    title: str
    kind: str
    description: str
    queries: tuple[Query, ...]
    width: int
    height: int = 8
    instant: bool = False
    unit: str = "short"
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()

    def render(self, number: int, x: int, y: int) -> Json:
        """Its JSON, at a place of the grid."""
        fields: Json = {"unit": self.unit, "mappings": [], "custom": self.custom, **self.defaults}
        rendered: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": fields, "overrides": list(self.overrides)},
            "options": self.options,
        }
        if self.transformations:
            rendered["transformations"] = list(self.transformations)
        if self.kind == "timeseries":
            # A point is never narrower than a scrape; `offset $__interval` counts on it.
            rendered["interval"] = "1m"
        return rendered

    def _target(self, place: int, query: Query) -> Json:
        return {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "instant": self.instant,
            "range": not self.instant,
            "format": "table" if self.kind == "table" else "time_series",
        }


def stat(
    title: str,
    expr: str,
    description: str,
    *,
    legend: str = "",
    unit: str = "short",
    steps: Json | None = None,
    nothing: str = "no data",
    words: dict[str, tuple[str, str]] | None = None,
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """The last value, large. `nothing` stands for NaN, `words` for values: a text and its colour."""
    mappings: list[Json] = [
        {"type": "special", "options": {"match": "null+nan", "result": {"text": nothing, "index": 0}}}
    ]
    if words:
        said = {
            value: {"text": text, "color": colour, "index": place}
            for place, (value, (text, colour)) in enumerate(words.items(), start=1)
        }
        mappings.append({"type": "value", "options": said})
    defaults: Json = {
        "mappings": mappings,
        "noValue": nothing,
        "color": {"mode": "thresholds"},
        "thresholds": steps or thresholds(NEUTRAL),
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return Panel(
        title,
        "stat",
        description,
        (Query(expr, legend),),
        width,
        height=4,
        instant=True,
        unit=unit,
        defaults=defaults,
        options={
            "reduceOptions": _last(),
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "textMode": "value_and_name" if legend else "auto",
            "orientation": "auto",
        },
    )


def trend(
    title: str,
    queries: tuple[Query, ...],
    description: str,
    *,
    unit: str = "short",
    width: int = 12,
    steps: Json | None = None,
    least: float | None = 0,
    most: float | None = None,
) -> Panel:
    """Lines over time; NaN leaves a gap. `steps` are drawn as dashed lines."""
    defaults: Json = {"color": {"mode": "palette-classic"}}
    if least is not None:
        defaults["min"] = least
    if most is not None:
        defaults["max"] = most
    custom: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "spanNulls": False}
    if steps:
        defaults["thresholds"] = steps
        custom["thresholdsStyle"] = {"mode": "dashed"}
    return Panel(
        title,
        "timeseries",
        description,
        queries,
        width,
        unit=unit,
        custom=custom,
        defaults=defaults,
        overrides=_coloured(queries),
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def bars(
    title: str,
    queries: tuple[Query, ...],
    description: str,
    *,
    unit: str = "short",
    width: int = 12,
) -> Panel:
    """Stacked bars over time, of how much totals grew (`promql.per_bar`)."""
    lines = trend(title, queries, description, unit=unit, width=width)
    custom: Json = {
        "drawStyle": "bars",
        "lineWidth": 1,
        "fillOpacity": 70,
        "stacking": {"mode": "normal", "group": "A"},
    }
    legend: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["sum"]}
    return replace(lines, custom=custom, options={**lines.options, "legend": legend})


def pie(title: str, query: Query, description: str, *, unit: str = "short", width: int = 8) -> Panel:
    """Shares of a whole, now."""
    return Panel(
        title,
        "piechart",
        description,
        (query,),
        width,
        instant=True,
        unit=unit,
        defaults={"color": {"mode": "palette-classic"}},
        overrides=_coloured((query,)),
        options={
            "reduceOptions": _last(),
            "pieType": "donut",
            "displayLabels": ["percent"],
            "legend": {
                "displayMode": "table",
                "placement": "right",
                "showLegend": True,
                "values": ["value"],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


def ranking(
    title: str, query: Query, description: str, *, unit: str = "short", width: int = 8, decimals: int = 0
) -> Panel:
    """A bar for each series, now."""
    return Panel(
        title,
        "bargauge",
        description,
        (query,),
        width,
        instant=True,
        unit=unit,
        defaults={
            "color": {"mode": "thresholds"},
            "thresholds": thresholds(NEUTRAL),
            "min": 0,
            "decimals": decimals,
        },
        options={
            "reduceOptions": _last(),
            "orientation": "horizontal",
            "displayMode": "basic",
            "valueMode": "color",
            "showUnfilled": True,
        },
    )


def gauge(title: str, query: Query, description: str, *, steps: Json, width: int = 8) -> Panel:
    """Shares from 0 to 1 on a dial."""
    return Panel(
        title,
        "gauge",
        description,
        (query,),
        width,
        instant=True,
        unit="percentunit",
        defaults={
            "min": 0,
            "max": 1,
            "thresholds": steps,
            "color": {"mode": "thresholds"},
            "noValue": "no budget",
        },
        options={"reduceOptions": _last(), "showThresholdLabels": False, "showThresholdMarkers": True},
    )


def table(
    title: str,
    expr: str,
    description: str,
    *,
    columns: tuple[str, ...],
    width: int,
    number: str | None = None,
    link: tuple[str, str] | None = None,
    height: int = 8,
) -> Panel:
    """A row for each series, its labels the columns. `number`: a label to sort by, newest first.

    `link`: a title and an address, on the cells of `number`.
    """
    hidden = ("Time", "Value")
    transformations: list[Json] = [
        {
            "id": "organize",
            "options": {
                "excludeByName": dict.fromkeys(hidden, True),
                "indexByName": {name: place for place, name in enumerate(columns)},
                "renameByName": {name: name.replace("_", " ") for name in columns if "_" in name},
            },
        }
    ]
    overrides: list[Json] = []
    if number:
        conversion = {"targetField": number, "destinationType": "number"}
        transformations += [
            {"id": "convertFieldType", "options": {"conversions": [conversion], "fields": {}}},
            {"id": "sortBy", "options": {"sort": [{"field": number, "desc": True}]}},
        ]
        properties: list[Json] = [{"id": "unit", "value": "none"}, {"id": "custom.width", "value": 90}]
        if link:
            properties.append({"id": "links", "value": [{"title": link[0], "url": link[1]}]})
        overrides.append({"matcher": {"id": "byName", "options": number}, "properties": properties})
    return Panel(
        title,
        "table",
        description,
        (Query(expr),),
        width,
        height=height,
        instant=True,
        unit="none",
        custom={"align": "auto", "filterable": True},
        overrides=tuple(overrides),
        transformations=tuple(transformations),
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
    )


def thresholds(base: str, **steps: float) -> Json:
    """The colour below all steps, and from which value on another one holds."""
    first: Json = {"color": base, "value": None}
    return {
        "mode": "absolute",
        "steps": [first, *({"color": colour, "value": value} for colour, value in steps.items())],
    }


def _last() -> Json:
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _coloured(queries: tuple[Query, ...]) -> tuple[Json, ...]:
    return tuple(
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for query in queries
        for name, colour in COLOURS.get(query.legend, {}).items()
    )
