"""Typed reads of the environment. A bad value stops the start and names its variable.

Every secret may also come from a file: NAME_FILE holds the path, one trailing newline is dropped.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, EnvValidationError, FileAwareEnv

from agents import maintenance
from agents.kinds import ActionKind
from agents.maintenance import Maintenance
from incidents import quiet
from incidents.weekly import Weekly
from incidents.weekly import parse as parse_weekly

T = TypeVar("T")

env = FileAwareEnv(strip_whitespace=True)
secret_files: dict[str, Path] = {}  # what was read by NAME_FILE, and `.env`, by variable
known = {"HOST", "PORT", "HOMELAB_BIND", "WEB_CONCURRENCY"}  # the server's own, and each that was read
SHORTEST_KEY = 50  # Django's own check wants as much
# A container's own mounts, which only its processes see; they are often open to each of these.
SECRET_MOUNTS = ("/run/secrets/", "/var/run/secrets/")
SQLITE_ENGINE = "django.db.backends.sqlite3"
POSTGRESQL_ENGINE = "django.db.backends.postgresql"


class ConfigError(ImproperlyConfigured):
    """A setting that cannot be used; the message names the variable and what it wants."""


def read(parse: Callable[..., T], name: str, *, wanted: str = "", **options: object) -> T:
    """`parse(name)` with an error that is ours; an empty value counts as not set.

    It stays in the environment all the same: it says that the value in `.env` is not wanted either.
    `wanted` says what a value that cannot be parsed is not; the error shows that value, so it is no secret's.
    """
    known.add(name)
    if os.environ.get(name) == "" and not os.environ.get(f"{name}_FILE"):
        return cast(T, options["default"])
    if path := os.environ.get(f"{name}_FILE"):
        secret_files[f"{name}_FILE"] = Path(path)
    try:
        return parse(name, **options)
    except EnvValidationError as error:
        raise ConfigError(f"{name}: {env.str(name)!r} is not {wanted}") from error
    except (EnvError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from error


def open_to_others() -> list[str]:
    """Of the files that hold secrets, those that every user of this machine may read, as words of warning."""
    found = []
    for name, path in secret_files.items():
        if str(path).startswith(SECRET_MOUNTS) or not path.is_file():
            continue
        if path.stat().st_mode & stat.S_IROTH:
            found.append(f"{name}: every user of this machine may read {path} (chmod 600 {path})")
    return found


def data_directory(base_dir: Path) -> Path:
    """Where state is kept; made here, so that one that cannot be is told by its variable's name."""
    found: Path = read(env.path, "HOMELAB_DATA_DIR", default=base_dir / "var").absolute()
    try:
        found.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"HOMELAB_DATA_DIR: cannot make {found}: {error.strerror}") from error
    if not os.access(found, os.W_OK | os.X_OK):
        raise ConfigError(f"HOMELAB_DATA_DIR: cannot write into {found}")
    os.umask(0o077)  # all that this program writes is its owner's alone: databases, metrics, benchmarks
    return found


def embedding_model() -> str:
    """`builtin`, `openai:NAME`, or the path of a folder that is there."""
    value = read(env.str, "EMBEDDING_MODEL", default="builtin")
    if value != "builtin" and not value.startswith("openai:") and not Path(value).is_dir():
        raise ConfigError(f"EMBEDDING_MODEL: {value!r} is neither builtin, nor openai:NAME, nor a folder")
    return value


def folder(name: str) -> Path | None:
    """A folder that can be listed, or None."""
    value = optional(name)
    if value is None:
        return None
    try:
        os.listdir(value)
    except OSError as error:
        raise ConfigError(f"{name}: {value} is no folder that can be read: {error.strerror}") from error
    return Path(value).absolute()


def optional(name: str) -> str | None:
    """A string, or None when it is not set."""
    return read(env.str, name, default=None)


def url(name: str, schemes: tuple[str, ...] = ("http", "https")) -> str | None:
    """An absolute URL without its trailing slash, or None."""
    value = optional(name)
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        readable = parts.port is None or parts.port > 0  # a port that is no number raises here
    except ValueError as error:
        raise ConfigError(f"{name}: is no URL: {error}") from error
    somewhere = parts.hostname or (parts.scheme == "unix" and parts.path)
    if not (readable and somewhere) or parts.scheme not in schemes or any(map(str.isspace, value)):
        raise ConfigError(f"{name}: is not a URL with one of the schemes {', '.join(schemes)}")
    return value.rstrip("/")


def url_template(name: str, part: str) -> str | None:
    """Where something is looked at, with `{part}` in the place of its id; or None."""
    value = url(name)
    if value is not None and f"{{{part}}}" not in value:
        raise ConfigError(f"{name}: has no {{{part}}} in it")
    return value


def database(name: str, default: str) -> dict[str, Any]:
    """Django's description of the database at a URL."""
    return database_at(read(env.str, name, default=default), name)


def database_at(address: str, name: str) -> dict[str, Any]:
    """As `database`; `name` is what the URL came from. No error repeats the URL, which holds a password."""
    wanted = f"{name}: wants sqlite:///path or postgres://user:password@host/name"
    try:
        parsed = dj_database_url.parse(address, conn_max_age=600, conn_health_checks=True)
    except ValueError:
        # what the cause says may hold a piece of the password
        raise ConfigError(f"{wanted}, with %2F for / and so on inside a password") from None
    found: dict[str, Any] = {**parsed}
    if found["ENGINE"] == SQLITE_ENGINE:
        for suffix in ("", "-wal", "-shm"):  # new ones are made so, those of an earlier version were not
            make_private(Path(f"{found['NAME']}{suffix}"))
        found["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",  # a read that later writes would fail: "database is locked"
            "timeout": 20,
            # FULL: with WAL, NORMAL may lose an acknowledged alert when the power goes
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
    elif found["ENGINE"] == POSTGRESQL_ENGINE:
        found["ENGINE"] = "homelab.postgresql"
        # a database that does not answer must not hold requests until the sender gives up: 5 s, and 10 s
        options = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "server_side_binding": True}
        options["prepare_threshold"] = 5  # what is asked again and again is planned once
        own = found.get("OPTIONS", {})
        found["OPTIONS"] = {**options, **own}
        # Who sets it is behind a pooler of transactions: a cursor would be left on another connection.
        found["DISABLE_SERVER_SIDE_CURSORS"] = "prepare_threshold" in own
    else:
        raise ConfigError(wanted)
    return found


def choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = read(env.str, name, default=default).lower()
    if value not in choices:
        raise ConfigError(f"{name}: {value!r} is none of {', '.join(choices)}")
    return value


def number(name: str, default: int, least: int = 0, most: int | None = None) -> int:
    value = read(env.int, name, wanted="a whole number", default=default)
    if value < least:
        raise ConfigError(f"{name}: {value} is less than {least}")
    if most is not None and value > most:
        raise ConfigError(f"{name}: {value} is more than {most}")
    return value


def dollars(name: str, default: float | None) -> float | None:
    value = read(env.float, name, wanted="an amount of US dollars", default=default)
    if value is not None and not 0 <= value < float("inf"):
        raise ConfigError(f"{name}: {value} is not an amount of US dollars")
    return value


def prices(name: str) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Dollars for a million tokens of input, of output and of cached input, by model.

    Written `model=input,output` or `model=input,output,cached`, with `;` between models. Without a price of
    its own, cached input costs what input does.
    """
    found = {}
    for item in filter(None, map(str.strip, read(env.str, name, default="").split(";"))):
        model, _, written = (part.strip() for part in item.rpartition("="))
        try:
            amounts = [Decimal(each.strip()) for each in written.split(",")]
        except InvalidOperation:
            amounts = []
        if not model or model in found or len(amounts) not in (2, 3) or not all(map(_is_price, amounts)):
            raise ConfigError(f"{name}: wants model=input,output or model=input,output,cached: {item!r}")
        found[model] = (amounts[0], amounts[1], amounts[-1] if len(amounts) == 3 else amounts[0])
    return found


def _is_price(amount: Decimal) -> bool:
    return amount.is_finite() and amount >= 0


def names(name: str) -> list[str]:
    """A comma-separated list, spaces around items dropped."""
    return [item.strip() for item in read(env.str, name, default="").split(",") if item.strip()]


def kind_modes(name: str) -> dict[str, str]:
    """Mode by kind of change, written `restart_container=auto` with commas between."""
    found = {}
    for item in names(name):
        kind, _, mode = (part.strip() for part in item.partition("="))
        if kind not in ActionKind.values:
            raise ConfigError(f"{name}: {kind!r} is none of {', '.join(ActionKind.values)}")
        if mode not in ("off", "approve", "auto") or kind in found:
            raise ConfigError(f"{name}: wants {kind}=off, {kind}=approve or {kind}=auto, each kind once")
        found[kind] = mode
    return found


def declared_maintenance(name: str) -> tuple[Maintenance, ...]:
    """The entries of the YAML file at a path; none without one."""
    path = optional(name)
    try:
        return maintenance.load(Path(path)) if path else ()
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def quiet_hours(name: str) -> tuple[quiet.Window, ...]:
    """Hours of the day by TZ; docs: `incidents.quiet`."""
    try:
        return quiet.parse(read(env.str, name, default=""))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def weekly(name: str, default: str) -> Weekly | None:
    """A moment of the week by TZ; None for `off`."""
    try:
        return parse_weekly(read(env.str, name, default=default))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks (10.0.0.5, 172.18.0.0/16), by commas. Everybody (/0) is no such network."""
    found = []
    for item in names(name):
        try:
            network = ip_network(item)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        if network.prefixlen == 0:
            raise ConfigError(f"{name}: {item} is everybody")
        found.append(network)
    return found


def header_name(name: str) -> str | None:
    value = optional(name)
    if value is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
        raise ConfigError(f"{name}: {value!r} is no name of a header")
    return value


def group_roles(name: str) -> dict[str, str]:
    """Role by group, written `group=role` with commas between."""
    found = {}
    for item in names(name):
        group, _, role = (part.strip() for part in item.rpartition("="))
        if not group or group in found or role not in ("viewer", "operator", "admin"):
            raise ConfigError(f"{name}: wants group=viewer, group=operator or group=admin, each group once")
        found[group] = role
    return found


def docker_hosts() -> dict[str, str]:
    """Host name to engine URL, from DOCKER_HOSTS, else DOCKER_HOST, else the local socket when it is there.

    `DOCKER_HOST=off` turns the local default off.
    """
    pairs = names("DOCKER_HOSTS")
    if pairs:
        hosts = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if len(hosts) != len(pairs) or not all(key.strip() for key in hosts):
            raise ConfigError("DOCKER_HOSTS: wants name=url,name=url with each name once")
        return {key.strip(): _docker_url("DOCKER_HOSTS", value.strip()) for key, value in hosts.items()}
    single = read(env.str, "DOCKER_HOST", default=None)
    if single == "off":
        return {}
    if single:
        return {"local": _docker_url("DOCKER_HOST", single)}
    local = Path("/var/run/docker.sock")
    return {"local": f"unix://{local}"} if local.is_socket() else {}


def _docker_url(name: str, value: str) -> str:
    if not value.startswith(("unix://", "tcp://", "http://", "https://")):
        raise ConfigError(f"{name}: {value!r} starts with none of unix:// tcp:// http:// https://")
    return value


def own_hosts(public_url: str | None) -> list[str]:
    """Names under which people reach this program."""
    hosts = ["localhost", "127.0.0.1", "[::1]", socket.gethostname(), "homelab-agents"]
    if public_url and (host := urlsplit(public_url).hostname):
        hosts.append(host)
    return hosts


def make_private(path: Path) -> None:
    """Take a file's rights from everybody but its owner, if it is there and ours to change."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o600)


def private_text(path: Path, make: Callable[[], str]) -> str:
    """The text of a file that only we may read; made on first use, safely when two processes race."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        make_private(path)
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"HOMELAB_DATA_DIR: cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "w") as stream:
        text = make()
        stream.write(text + "\n")
    return text


def secret_key(data_dir: Path) -> str:
    """What signs sessions: given, or made on first use."""
    given = optional("SECRET_KEY")
    if given is not None and len(given) < SHORTEST_KEY:
        raise ConfigError(f"SECRET_KEY: wants at least {SHORTEST_KEY} characters")
    return given or private_text(data_dir / "secret-key", lambda: secrets.token_urlsafe(50))
