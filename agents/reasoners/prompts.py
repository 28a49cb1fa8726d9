"""What the model is told. The stable part comes first and holds no clock, so that servers can cache it.

The words are files: `agents/prompts/common.md`, and one for each agent. `{submit}` in them is the name of the
tool that ends the turn. Their version, a hash of all of them, is kept with each call.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import outcomes
from agents.loop import Brief
from agents.tools.base import Tool
from incidents.redaction import clean_tree

FOLDER = Path(__file__).parents[1] / "prompts"
FILES = ("common", "monitor", "analyst", "healer", "postmortem")
# The Monitor is given its reading, the Healer its diagnosis: both look again at most.
OFFERED_TOOLS = {"monitor": 4, "analyst": 8, "healer": 4, "postmortem": 0}
# Of the reading of the alert's expression: the rest repeats the labels.
READING = ("state", "reason", "value", "was_firing", "last_true", "rule_state", "rule_health", "for_seconds")


class PromptError(Exception):
    """A folder of prompts lacks a file; the message names it."""


@dataclass(frozen=True)
class Prompts:
    """The texts by their file's name, and the version of all of them."""

    texts: Mapping[str, str]
    version: str

    def system(self, agent: str, submit: str) -> str:
        return f"{self.texts['common']}\n{self.texts[agent]}".replace("{submit}", submit)


@functools.cache
def load(folder: Path = FOLDER) -> Prompts:
    """The prompts of a folder; PromptError when one is missing or empty."""
    texts = {name: _read(folder / f"{name}.md") for name in FILES}
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    return Prompts(texts, digest.hexdigest()[:12])


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt {path}: {error}") from error
    if not text.strip():
        raise PromptError(f"prompt {path} is empty")
    return text


def case(brief: Brief[Any]) -> str:
    """The incident and what colleagues found, as JSON between marks. What is not known is left out."""
    about = brief.case
    facts: dict[str, Any] = {
        "alert": about.alert_name,
        "severity": about.severity,
        "started_at": about.starts_at.isoformat(timespec="seconds"),
        "target": about.target,
        "ambiguous_targets": list(about.candidates),
        "expression": about.expression,
        "labels": {
            name: each for name, each in about.labels.items() if name not in ("alertname", "severity")
        },
        "annotations": dict(about.annotations),
        **_told(brief.context),
    }
    known = {name: value for name, value in facts.items() if value or name == "target"}
    # Cleaned before it is JSON, whose escapes would end a pattern early; no `<` is left to close the marks.
    text = json.dumps(clean_tree(known), separators=(",", ":"), default=str, ensure_ascii=False)
    return f"<untrusted>\n{text.replace('<', chr(92) + 'u003c')}\n</untrusted>"


def _told(context: Mapping[str, Any]) -> dict[str, Any]:
    """What colleagues found, without what the case says already. A struck claim is told to nobody."""
    told = dict(context)
    if reading := told.get("reading"):
        told["reading"] = {name: reading[name] for name in READING if reading.get(name) is not None}
    if triage := told.get("triage"):
        told["triage"] = {name: triage[name] for name in ("state", "affected", "summary")}
    if diagnosis := told.get("diagnosis"):
        told["diagnosis"] = {
            "cause": diagnosis["cause"],
            "certainty": diagnosis["certainty"],
            "evidence": [claim["quote"] for claim in diagnosis["claims"] if claim["found"]],
        }
    told.pop("plain", None)  # what stands there without a model
    if record := told.get("track_record"):
        told["track_record"] = outcomes.in_words(record)
    return told


def offer(brief: Brief[Any]) -> list[Tool]:
    """The agent's share: those of whose topics or integration the alert speaks, in a fixed order."""
    case = brief.case
    words = " ".join((case.alert_name, case.expression or "", case.target_kind or "", *case.labels)).lower()

    def relevance(tool: Tool) -> int:
        hits = sum(topic in words for topic in tool.topics)
        return hits + 2 * (tool.integration.name == (case.target_kind or "")) + 100 * tool.always

    ranked = sorted(brief.tools, key=relevance, reverse=True)[: OFFERED_TOOLS[brief.agent]]
    return [tool for tool in brief.tools if tool in ranked]
