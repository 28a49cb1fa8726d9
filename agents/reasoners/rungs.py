"""The rungs of the ladder that ask a model: which one, where, by whose key. Below them are the playbooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings

OPENAI = "https://api.openai.com/v1"
# Names that no public server has, besides those without a dot.
PRIVATE_NAMES = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localhost", ".ts.net")


@dataclass(frozen=True)
class Rung:
    """A model at a server. `key_name` is the setting that the key was read from.

    `free`: it costs nothing, so neither the budget nor a storm keeps it from work.
    """

    name: str  # as it stands on a step: `model` or `fallback`
    model: str
    base_url: str
    api_key: str | None = field(repr=False)
    key_name: str
    free: bool = False

    @property
    def endpoint(self) -> str:
        """The server's address without credentials."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def configured() -> list[Rung]:
    """The rungs that are set up, the highest first."""
    return [rung for rung in (_model(), _fallback()) if rung is not None]


def _model() -> Rung | None:
    if settings.OPENAI_BASE_URL is None and settings.OPENAI_API_KEY is None:
        return None
    base = settings.OPENAI_BASE_URL or OPENAI
    return Rung("model", settings.OPENAI_MODEL, base, settings.OPENAI_API_KEY, "OPENAI_API_KEY")


def _fallback() -> Rung | None:
    """Without an address of its own it is another model of the main server, by the main key.

    A server of its own never gets the main key. One in the owner's own network counts as free, unless the
    model has a price in LLM_PRICES; of the main model nothing like that is guessed, for a local address may
    be a proxy to one that costs.
    """
    model, base = settings.OPENAI_FALLBACK_MODEL, settings.OPENAI_FALLBACK_BASE_URL
    if model is None:
        return None
    key, name = settings.OPENAI_FALLBACK_API_KEY, "OPENAI_FALLBACK_API_KEY"
    if base is not None:
        free = _in_own_network(base) and model not in settings.LLM_PRICES
        return Rung("fallback", model, base, key, name, free=free)
    if key is None:
        key, name = settings.OPENAI_API_KEY, "OPENAI_API_KEY"
    return Rung("fallback", model, settings.OPENAI_BASE_URL or OPENAI, key, name)


def _in_own_network(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_NAMES)
