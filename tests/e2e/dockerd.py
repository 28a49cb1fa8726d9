"""A private Docker daemon with its own containerd, and a tiny image made of busybox.

Needs root, neither pytest nor Django. Several can run side by side: each has its own
sockets, data and containerd, and none touches a Docker that the machine itself runs.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, Self

import docker
import requests
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from .process import Json, Process, binary, wait_until

WEB_IMAGE = "e2e-web:latest"
# The shell stays process 1 and waits, because process 1 ignores a signal it has no handler
# for: busybox httpd there would make every "docker stop" last its full 10 s.
WEB_COMMAND = """
trap 'echo "$NAME: stopping"; exit 0' TERM
echo "$NAME: starting"
httpd -f -p 127.0.0.1:$PORT -h /www &
echo "$NAME: serving http://127.0.0.1:$PORT/metrics"
wait $!
"""
WEB_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "www/index.html": "ok\n",
    "www/metrics": "# HELP web_ready 1 while the server answers.\n# TYPE web_ready gauge\nweb_ready 1\n",
}
# Addresses and paths that would otherwise be /run/containerd and /opt/containerd. The
# Kubernetes plugin is off: it only costs time and complains about a missing CNI.
CONTAINERD_CONFIG = """
version = 2
root = "{data}/containerd"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{run}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{data}/opt"
"""


class Docker:
    """A dockerd with nothing in it. ``url`` is its DOCKER_HOST, ``client`` a client of the SDK."""

    client: docker.DockerClient

    def __init__(self, directory: Path | str, *, storage_driver: str = "vfs") -> None:
        """Keep data and logs in ``directory``; vfs works on any file system and mounts nothing."""
        self.directory = Path(directory).resolve()
        self.storage_driver = storage_driver
        # A unix socket's path must be shorter than 108 bytes, which a test's directory may exceed.
        self.run = Path(tempfile.mkdtemp(prefix="e2e-dk-", dir="/tmp"))
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        self.socket = self.run / "docker.sock"
        self.url = f"unix://{self.socket}"
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.stop)
            self._start("containerd", self._containerd_argv()).wait_ready(self._containerd_answers)
            self._start("dockerd", self._dockerd_argv()).wait_ready(self._connect)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove every container, end both daemons, undo their mounts and delete all but the logs."""
        if hasattr(self, "client"):
            # A daemon that was killed or hangs must not keep the rest from being cleaned up;
            # the containers it leaves are ended below.
            with suppress(DockerException, requests.RequestException):
                self._remove_containers()
            self.client.close()
        for process in reversed(self._processes):
            process.stop()
        _kill_orphans(str(self.run))
        _unmount_below(self.run, self.directory)
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def image(self, name: str = WEB_IMAGE) -> str:
        """Make the busybox image ``name`` ("repository:tag") unless it is there; returns its name."""
        if not self.client.images.list(name=name):
            repository, _, tag = name.partition(":")
            self.client.api.import_image_from_data(root_file_system(), repository, tag or "latest")
        return name

    def run_web(
        self,
        name: str,
        port: int,
        labels: Mapping[str, str] | None = None,
        restart: Literal["always", "on-failure"] | None = None,
        healthcheck: Json | None = None,
        command: list[str] | None = None,
    ) -> Container:
        """Run a container that serves /metrics on 127.0.0.1:``port`` and wait until it does.

        ``restart`` names a restart policy; ``healthcheck`` has the SDK's
        shape, with times in nanoseconds. A ``command`` replaces the server (NAME and PORT are in
        its environment) and is not waited for. Raises RuntimeError with the log if it ends early.
        """
        container = self.client.containers.run(
            self.image(),
            command or ["sh", "-c", WEB_COMMAND],
            name=name,
            detach=True,
            network_mode="host",
            labels=dict(labels or {}),
            environment={"NAME": name, "PORT": str(port)},
            restart_policy={"Name": restart} if restart else None,
            healthcheck=healthcheck,
        )
        if command is None:
            wait_until(lambda: _serves(container, port), 20, f"container {name} does not serve port {port}")
        return container

    def kill_process(self, name: str) -> int:
        """SIGKILL the container's main process behind Docker's back, as a crash or the kernel would.

        Docker reports "die" (exit code 137) with no "kill" or "stop" before it. Returns the
        process id on this host; raises RuntimeError when the container does not run.
        """
        pid: int = self.client.containers.get(name).attrs["State"]["Pid"]
        if pid <= 0:  # Docker's 0 for "not running" would mean our own process group to kill(2)
            raise RuntimeError(f"container {name} is not running")
        os.kill(pid, signal.SIGKILL)
        return pid

    def _start(self, name: str, argv: list[str]) -> Process:
        process = Process(name, argv, self.directory / f"{name}.log")
        self._processes.append(process)
        return process

    def _containerd_argv(self) -> list[str]:
        """Our own containerd: dockerd would use the machine's, and see its containers, if one runs."""
        config = self.run / "containerd.toml"
        config.write_text(CONTAINERD_CONFIG.format(data=self.data, run=self.run))
        return [binary("containerd"), "--config", str(config)]

    def _dockerd_argv(self) -> list[str]:
        config = self.run / "daemon.json"
        config.write_text("{}")  # not /etc/docker/daemon.json, whose options could contradict these
        return [
            binary("dockerd"),
            f"--config-file={config}",
            f"--containerd={self.run / 'containerd.sock'}",
            f"--data-root={self.data / 'docker'}",
            f"--exec-root={self.run / 'exec'}",
            f"--pidfile={self.run / 'docker.pid'}",
            f"--host={self.url}",
            f"--storage-driver={self.storage_driver}",
            # Containers use the host's network, so the machine's firewall is left as it is.
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            # Docker's own limits can exceed what a sandboxed root may grant.
            "--default-ulimit=nofile=1024:20000",
        ]

    def _containerd_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.run / "containerd.sock")) == 0

    def _connect(self) -> bool:
        try:
            self.client = docker.DockerClient(base_url=self.url, version="auto")
        except DockerException:
            return False
        return True

    def _remove_containers(self) -> None:
        for container in self.client.containers.list(all=True, ignore_removed=True):
            with suppress(APIError):  # removed meanwhile by whoever started it
                container.remove(force=True, v=True)


def root_file_system() -> bytes:
    """A tar archive: busybox with a link for each of its commands, and a page to serve."""
    busybox = binary("busybox")
    commands = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, mode in {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "www": 0o755}.items():
            _add(archive, path, b"", mode, tarfile.DIRTYPE)
        _add(archive, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        for command in sorted({*commands, "sh"} - {"busybox"}):
            _add(archive, f"bin/{command}", b"", 0o777, tarfile.SYMTYPE, "busybox")
        for path, text in WEB_FILES.items():
            _add(archive, path, text.encode(), 0o644)
    return buffer.getvalue()


def _add(
    archive: tarfile.TarFile,
    path: str,
    content: bytes,
    mode: int,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, target, len(content)
    archive.addfile(entry, io.BytesIO(content))


def _serves(container: Container, port: int) -> bool:
    container.reload()
    if container.status == "exited":
        raise RuntimeError(f"container {container.name} ended:\n{container.logs().decode(errors='replace')}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _kill_orphans(marker: str) -> None:
    """Kill the containerd shims started for ``marker`` (our run directory) and what they hold.

    Normally there are none. They outlive a dockerd that was killed, and their command line
    names our containerd's socket, which no other process's does.
    """
    table = list(_process_table())
    shims = {pid for pid, _, command in table if "containerd-shim" in command and marker in command}
    mains = {pid for pid, parent, _ in table if parent in shims}
    for pid in (*mains, *shims):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _process_table() -> Iterator[tuple[int, int, str]]:
    """(process id, parent's id, command line) of each process that exists."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # ended while we looked
            # The second field, the name in parentheses, may itself hold spaces and parentheses.
            parent = entry.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            command = entry.joinpath("cmdline").read_text(errors="replace")
            yield int(entry.name), int(parent), command


def _unmount_below(*roots: Path) -> None:
    """Detach whatever is still mounted at or below ``roots``, innermost first."""
    mounts = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed(mounts):
        if any(Path(point).is_relative_to(root) for root in roots):
            subprocess.run(["umount", "--lazy", point], check=True)
