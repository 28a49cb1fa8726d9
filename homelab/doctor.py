"""What `manage.py doctor` looks at: everything this program talks to, asked now."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from agents import reasoners
from agents.reasoners import breaker, dialects, rungs
from agents.reasoners.openai import ModelError
from agents.reasoners.rungs import Rung
from agents.tools import INTEGRATIONS
from agents.tools.base import Health, Integration
from homelab import banner, dotenv, env, firstrun, fitness, listen, tracing
from incidents import channels, memory
from incidents.models import Episode

TIMEOUT = 5
RECENT = timedelta(days=7)
Check = Callable[[], Health]


def examine() -> Iterator[tuple[str, Health]]:
    """Name and health, one at a time, for each may take some seconds."""
    database = check_database()
    yield "database", database
    for name, check in _others(readable=bool(database.ok)):
        yield name, check()


def checks() -> dict[str, Check]:
    """The same by name, of a program whose database is there."""
    return {"database": check_database, **dict(_others(readable=True))}


def _others(*, readable: bool) -> Iterator[tuple[str, Check]]:
    yield "server", check_server
    yield "settings", check_settings
    yield "secrets", check_secrets
    yield "memory", partial(check_memory, readable=readable)
    for rung in rungs.configured():
        yield rung.name, partial(check_rung, rung, readable=readable)
    if not rungs.configured():
        yield "model", lambda: Health(None, banner.ladder())
    yield "notifications", check_notifications
    yield "traces", check_traces
    for name, integration in sorted(INTEGRATIONS.items()):
        if name != "memory":  # it would tell of the memory of this process, which may be empty; see above
            yield name, partial(check_integration, name, integration, readable=readable)


def check_integration(name: str, integration: Integration, *, readable: bool) -> Health:
    if integration.configured():
        return integration.check()
    if name == "prometheus":
        return Health(None, proof_unavailable(readable=readable))
    return Health(None, not_configured(integration.settings))


def not_configured(names: tuple[str, ...]) -> str:
    return f"not configured (set {' or '.join(names)})" if names else "not configured"


def check_database() -> Health:
    """Reachable, and with the tables that this version wants."""
    query = "SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version"
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            version = str(cursor.fetchone()[0])
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return Health(False, f"DATABASE_URL: {str(error).strip().splitlines()[0]}")
    if missing:
        return Health(False, f"{len(missing)} migrations are missing: manage.py migrate", version)
    return Health(True, connection.vendor, version)


def check_server() -> Health:
    """The program itself, if it runs on this machine. That it does not is no fault."""
    first_run = firstrun.read(settings.DATA_DIR)  # it knows a port that was given for one start only
    url = first_run["url"] if first_run else listen.local_url()
    try:
        answer = requests.get(f"{url}/health", timeout=TIMEOUT)
    except requests.RequestException:
        return Health(None, f"does not run at {url}")
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("service") != settings.SERVICE_NAME:
        return Health(None, f"something else answers at {url}")
    remembered = body.get("memory", {}).get("status", "unknown")
    detail = f"{body.get('status')} at {url}, memory {remembered}"
    return Health(answer.status_code == HTTPStatus.OK, detail, body.get("version"))


def check_settings() -> Health:
    """Names in `.env` that look mistyped. A bad value has stopped the start."""
    wrong = dotenv.mistyped()
    return (
        Health(False, "; ".join(wrong)) if wrong else Health(True, "each name in .env is known, or not ours")
    )


def check_secrets() -> Health:
    """Whether what holds secrets is its owner's alone."""
    wrong = env.open_to_others()
    if settings.DATA_DIR.stat().st_mode & stat.S_IRWXO:
        wrong.append(f"HOMELAB_DATA_DIR: others may look into {settings.DATA_DIR} (chmod 700)")
    return Health(not wrong, "; ".join(wrong) or "read by their owner alone")


def check_memory(*, readable: bool) -> Health:
    """The Qdrant server. Without one the memory is in the web process, whose health tells of it."""
    if settings.QDRANT_URL is None:
        here = "in the web process (QDRANT_URL is not set), filled from the database"
        advice = memory.wants_server() if readable else None
        return Health(None, f"{here}; {advice}" if advice else here)
    key = {"api-key": settings.QDRANT_API_KEY} if settings.QDRANT_API_KEY else {}
    # /collections wants the key, which the start page does not
    collections = _get("QDRANT_URL", f"{settings.QDRANT_URL}/collections", key)
    if isinstance(collections, Health):
        return collections
    about = _get("QDRANT_URL", settings.QDRANT_URL, key)
    version = about.json().get("version") if isinstance(about, requests.Response) else None
    return Health(True, f"Qdrant at {banner.shown(settings.QDRANT_URL)}", version)


def check_rung(rung: Rung, *, readable: bool) -> Health:
    """A model's server by its list of models, which costs nothing; then the model by three small tasks."""
    about = banner.rung(rung)
    key = {"Authorization": f"Bearer {rung.api_key}"} if rung.api_key else {}
    prefix = "OPENAI_FALLBACK" if rung.name == "fallback" else "OPENAI"
    answer = _get(f"{prefix}_BASE_URL", f"{rung.base_url}/models", key, may_lack=True)
    if isinstance(answer, Health):
        return answer
    names = _model_names(answer)
    if names and rung.model not in names:
        return Health(False, f"{prefix}_MODEL: {rung.model} is not offered there; {about}")
    if why := reasoners.against_money(rung) if readable else None:
        return Health(True, f"{about}; not tried: {why}")
    try:
        trial = fitness.try_out(rung)
    except ModelError as error:
        return Health(False, f"{error}; {about}")
    if readable:
        breaker.healed(breaker.trouble(rung))
    return Health(trial.fit, f"{trial}, asked with {dialects.of(rung).words}; {about}")


def check_notifications() -> Health:
    """The names are those of the records. Nothing is sent; what cannot be read has stopped the start."""
    told = channels.summary()
    if told is None:
        return Health(None, not_configured(("NOTIFY_URLS", "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")))
    return Health(True, told)


def check_traces() -> Health:
    """The collector, by an export of no spans."""
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT is None:
        return Health(None, not_configured(("OTEL_EXPORTER_OTLP_ENDPOINT",)))
    headers = {"Content-Type": "application/x-protobuf", **tracing.headers()}
    answer = _ask("POST", "OTEL_EXPORTER_OTLP_ENDPOINT", tracing.endpoint(), headers)
    if isinstance(answer, Health):
        return answer
    return Health(True, f"go to {banner.shown(tracing.endpoint())}")


def proof_unavailable(*, readable: bool) -> str:
    """What to set, read off the alerts that came lately: they name the Prometheus that made them."""
    text = "proof unavailable (set PROMETHEUS_URL)"
    if not readable:
        return text
    recent = Episode.objects.filter(last_seen_at__gte=timezone.now() - RECENT).exclude(generator_url="")
    urls = recent.order_by("-last_seen_at").values_list("generator_url", flat=True)[:200]
    hosts = dict.fromkeys(f"{parts.scheme}://{parts.hostname}:{parts.port or 80}" for parts in _split(urls))
    return f"{text}; recent alerts came from {', '.join(hosts)}" if hosts else text


def _split(urls: Any) -> Iterator[Any]:
    for url in urls:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:  # an alert may carry any text here
            continue
        if parts.scheme in ("http", "https") and parts.hostname:
            yield parts


def _get(
    variable: str, url: str, headers: dict[str, str], *, may_lack: bool = False
) -> requests.Response | Health:
    return _ask("GET", variable, url, headers, may_lack=may_lack)


def _ask(
    method: str, variable: str, url: str, headers: dict[str, str], *, may_lack: bool = False
) -> requests.Response | Health:
    """The answer, or what is wrong, without the secrets that an error's own text may have.

    With `may_lack`, a server that has no such page is not wrong.
    """
    place = banner.shown(url)
    try:
        answer = requests.request(method, url, headers=headers, timeout=TIMEOUT)
    except requests.Timeout:
        return Health(False, f"{variable}: no answer from {place} in {TIMEOUT} s")
    except requests.RequestException as error:
        return Health(False, f"{variable}: cannot reach {place}: {type(error).__name__}")
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Health(False, f"{place} refuses the key ({answer.status_code})")
    if not answer.ok and not (may_lack and answer.status_code == HTTPStatus.NOT_FOUND):
        return Health(False, f"{place} answered {answer.status_code}")
    return answer


def _model_names(answer: requests.Response) -> set[str]:
    """Empty when the server's list is of a shape of its own; then nothing is said about the name."""
    try:
        body = answer.json()
    except ValueError:
        return set()
    listed = body.get("data") if isinstance(body, dict) else None
    return {str(each["id"]) for each in listed or [] if isinstance(each, dict) and "id" in each}
