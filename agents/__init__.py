"""The crew. `handle_alert`, `scheduled_health_check` and `incident_memory` are the names that users of the
first generation import; they load on first use, because an app's package is imported before its models.
"""

from importlib import import_module
from typing import Any

__all__ = ["handle_alert", "incident_memory", "scheduled_health_check"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("agents.compat"), name)
    raise AttributeError(f"module 'agents' has no attribute {name!r}")
