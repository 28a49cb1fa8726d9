"""The tools of the crew, one file an integration. A new integration is a new file and a line here."""

from agents.tools import alertmanager, docker, memory, network, prometheus, runbooks
from agents.tools.base import INTEGRATIONS, REGISTRY, available

__all__ = [
    "INTEGRATIONS",
    "REGISTRY",
    "alertmanager",
    "available",
    "docker",
    "memory",
    "network",
    "prometheus",
    "runbooks",
]
