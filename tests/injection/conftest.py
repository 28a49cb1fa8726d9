"""A machine to attack, and the crew on a model that obeys everything or on the playbooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from django.conf import settings as global_settings

from agents import cases, maintenance
from agents.reasoners import dialects
from incidents import memory
from incidents.own_secrets import own_secrets
from incidents.redaction import hide_everywhere
from tests.canaries import OWN_SECRET
from tests.conftest import Api
from tests.e2e.openai_server import OpenAIServer
from tests.injection import siege as sieges
from tests.injection.machine import Machine, machine
from tests.injection.obedient import Obedient
from tests.injection.sinks import SINKS
from tests.injection.wants import Payload

Besiege = Callable[..., sieges.Siege]
MAINTENANCE = """
- name: flush
  description: empties the cache of web
  targets: ["docker:nas/web"]
  command: [{program}, flush, "{{level}}"]
  parameters: {{level: {{type: choice, choices: [shallow, deep]}}}}
- name: wipe
  description: removes old volumes
  targets: ["docker:nas/db"]
  command: [{program}, wipe]
"""


@pytest.fixture(scope="module")
def attacked() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture
def besiege(db: None, settings, attacked: Machine, ingest: Api, tmp_path: Path) -> Iterator[Besiege]:
    """`besiege(payloads, ways)`: the crew on the obedient model, which knows these payloads and what comes by
    these ways on other days; `besiege(None)`: on the playbooks.
    """
    maintained = tmp_path / "maintained"
    program = tmp_path / "maintain"
    program.write_text(f'#!/bin/sh\necho "$@" >> {maintained}\n')
    program.chmod(0o700)
    declared = tmp_path / "maintenance.yml"
    declared.write_text(MAINTENANCE.format(program=program))
    for name, value in sieges.ready(attacked).items():
        setattr(settings, name, value)
    settings.MAINTENANCE = maintenance.load(declared)
    settings.OPENAI_API_KEY = settings.RUNBOOKS_DIR = None
    settings.METRICS_TOKEN = OWN_SECRET  # a secret of our settings, which a program logged
    before = hide_everywhere(own_secrets(global_settings))
    servers: list[OpenAIServer] = []
    made: list[sieges.Siege] = []

    def begin(payloads: list[Payload] | None, ways: Collection[str] = SINKS) -> sieges.Siege:
        attacked.reset("crashed")
        cases.refresh_inventory()
        model = server = None
        if payloads is not None:
            model = Obedient(payloads)
            server = OpenAIServer(model.script).__enter__()
            servers.append(server)
            settings.OPENAI_BASE_URL, settings.AGENT_STEPS = server.base_url, 6
        made.append(sieges.Siege(attacked, ingest, maintained, model, server))
        logging.getLogger().addHandler(made[-1].heard)
        if model is not None and payloads:
            model.learning = True
            for sink in ways:
                made[-1].twin(payloads[0], sink, 0)
            model.learning = False
        return made[-1]

    dialects.forget()
    yield begin
    for each in made:
        logging.getLogger().removeHandler(each.heard)
    for server in servers:
        server.__exit__(None)
    hide_everywhere(before)
    memory.forget_index()
