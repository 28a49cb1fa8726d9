"""A container that is there to be killed."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tarfile
from pathlib import Path
from typing import Any

from agents.tools.base import ToolError
from agents.tools.docker_client import engine_version
from agents.tools.docker_engine import docker_hosts, engine
from homelab.demo.client import DemoError

LABEL = "homelab.demo"
BUSYBOX, IMPORTED, TAG = "busybox", "homelab-demo", "latest"
LOOP = 'second=0; while true; do second=$((second + 1)); echo "alive for $second s"; sleep 1; done'


def find_host() -> tuple[str | None, str]:
    """The first Docker host that answers; else why there is none."""
    problems = []
    for host in docker_hosts():
        try:
            engine_version(host)
        except ToolError as error:
            problems.append(str(error))
            continue
        return host, ""
    return None, "; ".join(problems) or "no Docker engine is configured (DOCKER_HOSTS)"


class Container:
    """On one Docker host, with a name of its own. Errors of the engine come as ToolError."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.name = f"homelab-demo-{secrets.token_hex(3)}"
        self.imported = False

    def run(self) -> str:
        """Start it; the image it is made of."""
        image = self._image()
        with engine(self.host) as client:
            client.create_container(
                image,
                command=["sh", "-c", LOOP],
                name=self.name,
                labels={LABEL: "true"},
                host_config=client.create_host_config(network_mode="none"),
            )
            client.start(self.name)
        if not self.is_running():
            raise DemoError(f"The container {self.name} does not stay up.")
        return image

    def kill(self) -> None:
        """SIGKILL to its main process: what the engine reports looks like a crash, not like a stop."""
        with engine(self.host) as client:
            client.kill(self.name, signal="SIGKILL")
            client.wait(self.name, timeout=10)

    def start(self) -> None:
        with engine(self.host) as client:
            client.start(self.name)

    def is_running(self) -> bool:
        with engine(self.host) as client:
            return bool(client.inspect_container(self.name)["State"]["Running"])

    def remove(self) -> None:
        """The container, and the image if it was made for it."""
        with engine(self.host) as client:
            if client.containers(all=True, filters={"name": f"^/?{self.name}$"}):
                client.remove_container(self.name, v=True, force=True)
            if self.imported:
                client.remove_image(f"{IMPORTED}:{TAG}")

    def _image(self) -> str:
        """A busybox: the engine's own, else a registry's, else one made of this machine's binary."""
        if self._has(BUSYBOX):
            return BUSYBOX
        try:
            with engine(self.host) as client:
                client.pull(BUSYBOX, tag=TAG)
        except ToolError:  # no registry to be had; what is here may do
            pass
        if self._has(BUSYBOX):
            return BUSYBOX
        archive = root_file_system()
        with engine(self.host) as client:
            client.import_image_from_data(archive, IMPORTED, TAG)
        self.imported = True
        return IMPORTED

    def _has(self, image: str) -> bool:
        with engine(self.host) as client:
            return bool(client.images(name=f"{image}:{TAG}"))


def root_file_system() -> bytes:
    """A tar archive with nothing but this machine's busybox and the commands that the loop needs."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/bin", "/usr/sbin", "/sbin"])
    busybox = shutil.which("busybox", path=path)
    if busybox is None:
        raise DemoError("No image to be had: no local busybox, no registry, and no busybox on this machine.")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "bin", type=tarfile.DIRTYPE)
        _add(archive, "bin/busybox", Path(busybox).read_bytes())
        for command in ("sh", "sleep"):
            _add(archive, f"bin/{command}", type=tarfile.SYMTYPE, linkname="busybox")
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: str, content: bytes = b"", **attributes: Any) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.size = 0o755, len(content)
    for name, value in attributes.items():
        setattr(entry, name, value)
    archive.addfile(entry, io.BytesIO(content))
