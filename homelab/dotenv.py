"""The file `.env`: read into the environment, and what is wrong with it."""

from __future__ import annotations

import os
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from homelab.env import ConfigError, known, optional, secret_files

# So OPENAI_KEY is taken for OPENAI_API_KEY, and not OPENAI_API_BASE, which is for other programs.
ALIKE = 0.83
_names: list[str] = []  # what the file sets


def read(base_dir: Path) -> None:
    """The variables of `.env`, or of HOMELAB_ENV_FILE, that the environment does not set already."""
    named = optional("HOMELAB_ENV_FILE")
    if named is not None and not Path(named).exists():
        raise ConfigError(f"HOMELAB_ENV_FILE: there is no {named}")
    path = Path(named) if named else base_dir / ".env"
    secret_files["HOMELAB_ENV_FILE" if named else ".env"] = path
    if not path.exists():
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    _check(text, path)
    values = dotenv_values(stream=StringIO(text))
    _names[:] = values
    for name, value in values.items():
        os.environ.setdefault(name, value or "")


def _check(text: str, path: Path) -> None:
    """ConfigError names the line that sets nothing, and not what it says: that may be a secret."""
    for each in parse_stream(StringIO(text)):
        if each.error or (each.key and each.value is None):
            written = each.original.string
            blank_lines = written[: len(written) - len(written.lstrip())].count("\n")
            line = each.original.line + blank_lines
            raise ConfigError(f"{path}, line {line}: wants NAME=value, or # before a comment")


def mistyped() -> list[str]:
    """Names in `.env` that nobody reads and that are nearly one of ours, as words of warning.

    Those of OpenTelemetry are read by its own library.
    """
    found = []
    path = secret_files.get("HOMELAB_ENV_FILE") or secret_files.get(".env")
    ours = known | {f"{name}_FILE" for name in known}
    for name in dict.fromkeys(_names):
        if name in ours or name.startswith("OTEL_"):
            continue
        if close := get_close_matches(name.upper(), sorted(ours), n=1, cutoff=ALIKE):
            found.append(f"{name} in {path} is not known: did you mean {close[0]}?")
    return found
