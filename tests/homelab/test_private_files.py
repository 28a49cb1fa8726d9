"""What holds a secret is its owner's alone, whatever the umask says and whatever was there before."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from pytest_django import Settings

from homelab import banner, doctor, env, firstrun
from homelab.env import make_private, private_text
from tests.homelab.test_env import settings_with

PREPARE = "import os, sys; os.umask(0); from homelab import run; run.prepare()"


def modes(directory: Path) -> dict[str, str]:
    found = {path.name: oct(path.stat().st_mode & 0o777) for path in directory.rglob("*")}
    return {"": oct(directory.stat().st_mode & 0o777), **found}


def test_a_first_start_leaves_nothing_for_others_to_read(tmp_path: Path) -> None:
    """With a umask that would give everybody everything."""
    data = tmp_path / "data"
    started = settings_with(data, code=PREPARE)
    assert started.returncode == 0, started.stderr
    found = modes(data)
    assert {"secret-key", "first-run.json", "homelab.sqlite3"} <= set(found)
    assert found.pop("") == "0o700"
    assert set(found.values()) == {"0o600"}, found


def test_a_database_that_others_could_read_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "old.sqlite3"
    sqlite3.connect(file).close()
    for path in (file, Path(f"{file}-wal")):
        path.touch()
        path.chmod(0o644)
    assert settings_with(tmp_path, DATABASE_URL=f"sqlite:///{file}").returncode == 0
    assert modes(tmp_path)["old.sqlite3"] == modes(tmp_path)["old.sqlite3-wal"] == "0o600"


def test_a_secret_key_that_others_could_read_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "secret-key"
    file.write_text("of an earlier version\n")
    file.chmod(0o644)
    assert private_text(file, lambda: "new") == "of an earlier version"
    assert file.stat().st_mode & 0o777 == 0o600


def test_first_run_is_written_privately_into_any_directory(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        content: firstrun.FirstRun = {
            "url": "http://127.0.0.1:5000",
            "admin": {"username": "admin", "password": "x"},
            "tokens": {},
        }
        firstrun.write(tmp_path / "data", content)
    finally:
        os.umask(before)
    assert modes(tmp_path / "data") == {"": "0o700", firstrun.FILE: "0o600"}


def test_what_is_not_there_is_left_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "openai"
    file.write_text("sk-only-for-tests")
    monkeypatch.setattr(env, "secret_files", {"OPENAI_API_KEY_FILE": file})
    return file


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_secret_that_every_user_may_read_is_told(
    secret: Path, settings: Settings, tmp_path: Path, mode: int, warned: bool
) -> None:
    secret.chmod(mode)
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o700)
    said = f"OPENAI_API_KEY_FILE: every user of this machine may read {secret} (chmod 600 {secret})"
    assert env.open_to_others() == ([said] if warned else [])
    health = doctor.check_secrets()
    assert (health.ok, said in health.detail) == (not warned, warned)
    assert (f"Warning: {said}" in banner.state()) is warned
    assert "sk-only" not in health.detail


def test_a_data_directory_that_others_may_look_into_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o755)
    assert "others may look into" in doctor.check_secrets().detail


def test_which_files_hold_secrets_is_known_from_reading_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-x")
    (tmp_path / "key").chmod(0o644)
    code = (
        "from django.conf import settings as s; s.DEBUG; from homelab import env; print(env.open_to_others())"
    )
    said = settings_with(tmp_path, code=code, OPENAI_API_KEY_FILE=str(tmp_path / "key"))
    assert "OPENAI_API_KEY_FILE: every user" in said.stdout
    (tmp_path / "env").write_text("OPENAI_API_KEY=sk-x\n")
    (tmp_path / "env").chmod(0o644)
    said = settings_with(tmp_path, code=code, HOMELAB_ENV_FILE=str(tmp_path / "env"))
    assert "HOMELAB_ENV_FILE: every user" in said.stdout
