"""Containers of a test engine, in the shapes of the Docker Engine's API."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

NEVER = "0001-01-01T00:00:00Z"
IMAGE = "registry.example/shop:1.4"
IMAGE_ID = "sha256:" + sha256(IMAGE.encode()).hexdigest()


def nano(moment: float) -> str:
    """A time as Go writes it, with nanoseconds."""
    whole = int(moment)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{int((moment - whole) * 1e9):09d}Z"


@dataclass
class Container:
    """One container; `lock` is held by whoever changes it, as the engine's own is."""

    name: str
    id: str
    created: float
    running: bool = True
    exit_code: int = 0
    pid: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    log: list[tuple[float, str]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    network_mode: str = "bridge"
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def status(self) -> str:
        return "running" if self.running else "exited"

    def state(self) -> dict[str, Any]:
        return {
            "Status": self.status,
            "Running": self.running,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": self.pid if self.running else 0,
            "ExitCode": self.exit_code,
            "Error": "",
            "StartedAt": nano(self.started_at),
            "FinishedAt": nano(self.finished_at) if self.finished_at else NEVER,
        }

    def inspection(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Created": nano(self.created),
            "Path": "/shop",
            "Args": [],
            "State": self.state(),
            "Image": IMAGE_ID,
            "Name": f"/{self.name}",
            "RestartCount": 0,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "docker-default",
            "ExecIDs": None,
            "HostConfig": {
                "NetworkMode": self.network_mode,
                "PortBindings": {},
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                "Memory": 0,
                "LogConfig": {"Type": "json-file", "Config": {}},
            },
            "Mounts": [],
            "Config": {
                "Hostname": self.id[:12],
                "Env": ["PATH=/usr/bin"],
                "Cmd": None,
                "Entrypoint": ["/shop"],
                "Image": IMAGE,
                "Labels": self.labels,
                "Tty": False,
            },
            "NetworkSettings": {"Ports": {}, "Networks": {"bridge": self._network()}},
        }

    def summary(self) -> dict[str, Any]:
        """As it is in a list."""
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": IMAGE,
            "ImageID": IMAGE_ID,
            "Command": "/shop",
            "Created": int(self.created),
            "Ports": [],
            "Labels": self.labels,
            "State": self.status,
            "Status": "Up 2 minutes" if self.running else f"Exited ({self.exit_code}) 2 minutes ago",
            "HostConfig": {"NetworkMode": self.network_mode},
            "NetworkSettings": {"Networks": {"bridge": self._network()}},
            "Mounts": [],
        }

    def _network(self) -> dict[str, Any]:
        return {"Aliases": None, "DNSNames": None, "IPAddress": "", "GlobalIPv6Address": ""}


def frames(container: Container, query: dict[str, str]) -> bytes:
    """Log lines of a container without a terminal: each after its stream's number and its length."""
    tail = query.get("tail", "all")
    lines = container.log[-int(tail) :] if tail.isdigit() and int(tail) else container.log
    frames = []
    for at, text in lines:
        stamp = f"{nano(at)} " if query.get("timestamps") in ("1", "true", "True") else ""
        line = f"{stamp}{text}\n".encode()
        frames.append(struct.pack(">BxxxL", 2 if "panic" in text else 1, len(line)) + line)
    return b"".join(frames)
