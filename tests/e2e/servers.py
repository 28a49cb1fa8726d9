"""Real Prometheus, Alertmanager and Docker servers on loopback, each private to its caller.

Every class is a context manager: entering starts the server and waits until it answers,
leaving ends it by its own process id. Nothing here needs pytest or Django, so tests, the
demo and the benchmarks share it. Times are in seconds unless a Prometheus duration
string ("1s", "4h") is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from .dockerd import Docker
from .process import TOOLS, Json, Process, binary, free_port, http_session, missing, wait_until

__all__ = [
    "TOOLS",
    "Alertmanager",
    "Docker",
    "HttpServer",
    "Json",
    "Process",
    "Prometheus",
    "free_port",
    "http_session",
    "missing",
    "scrape_job",
    "wait_until",
]


def scrape_job(name: str, *ports: int) -> Json:
    """A scrape_config: job ``name`` reads /metrics on these loopback ports."""
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}


class HttpServer:
    """What Prometheus and Alertmanager share: a directory, a loopback port, /-/ready, start and stop."""

    name = ""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        self.http = http_session()
        self._process: Process | None = None

    def argv(self) -> list[str]:
        """The command line that starts the server; writes the configuration it names."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.stop)
            self._process = Process(self.name, self.argv(), self.directory / f"{self.name}.log")
            self._process.wait_ready(self._is_ready)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; its directory stays, for the log."""
        if self._process is not None:
            self._process.stop()
        self.http.close()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the server; raises RuntimeError with the answer's text unless it is a 2xx."""
        response = self.http.request(method, self.url + path, timeout=10, **options)
        if not response.ok:
            raise RuntimeError(f"{self.name} answered {response.status_code}: {response.text.strip()}")
        return response

    def _is_ready(self) -> bool:
        try:
            return self.http.get(f"{self.url}/-/ready", timeout=2).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def _write(self, name: str, config: Json) -> Path:
        """Write ``config`` as JSON, which is YAML too; readable by its owner, as it may hold a token."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
        return path


class Prometheus(HttpServer):
    """A Prometheus that scrapes and evaluates each second and sends to ``alertmanager`` (a URL)."""

    name = "prometheus"

    def __init__(
        self,
        directory: Path | str,
        *,
        jobs: list[Json],
        rules: list[Json],
        alertmanager: str | None = None,
        resend_delay: str = "5s",
    ) -> None:
        """``jobs`` are scrape_configs, ``rules`` the rules of one group, as in Prometheus's own files.

        Prometheus takes 5 s to find its targets and Alertmanager, and drops what fires before;
        ``resend_delay`` is when it tries again (its own default, a minute, is long for a test).
        An alert whose Prometheus stops resolves after four times that.
        """
        super().__init__(directory)
        self.resend_delay = resend_delay
        self.jobs, self.rules, self.alertmanager = jobs, rules, alertmanager

    def argv(self) -> list[str]:
        return [
            binary("prometheus"),
            f"--config.file={self._configure()}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",  # generatorURL in alerts leads back to this server
            "--web.enable-lifecycle",
            f"--rules.alert.resend-delay={self.resend_delay}",
        ]

    def reload(self, *, jobs: list[Json] | None = None, rules: list[Json] | None = None) -> None:
        """Replace jobs, rules or both, and have Prometheus take them; RuntimeError if it refuses them."""
        self.jobs = self.jobs if jobs is None else jobs
        self.rules = self.rules if rules is None else rules
        self._configure()
        self.request("POST", "/-/reload")

    def query(self, expression: str) -> list[Json]:
        """The instant vector of ``expression``: [{"metric": labels, "value": [time, "number"]}, ...]."""
        answer: Json = self.request("GET", "/api/v1/query", params={"query": expression}).json()
        result: list[Json] = answer["data"]["result"]
        return result

    def alerts(self) -> list[Json]:
        """The active alerts: [{"labels", "annotations", "state": "pending" or "firing", ...}, ...]."""
        alerts: list[Json] = self.request("GET", "/api/v1/alerts").json()["data"]["alerts"]
        return alerts

    def _configure(self) -> Path:
        rules = self._write("rules.yml", {"groups": [{"name": "e2e", "rules": self.rules}]})
        config: Json = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": self.jobs,
        }
        if self.alertmanager:
            targets = [{"targets": [urlsplit(self.alertmanager).netloc]}]
            config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
        return self._write("prometheus.yml", config)


class Alertmanager(HttpServer):
    """An Alertmanager that posts every group to one webhook, resolved alerts included."""

    name = "alertmanager"

    def __init__(
        self,
        directory: Path | str,
        *,
        webhook_url: str,
        token: str,
        group_wait: str = "1s",
        group_interval: str = "1s",
        repeat_interval: str = "4h",
        group_by: Iterable[str] = ("alertname",),
    ) -> None:
        """Intervals are Prometheus durations; ``token`` goes out as "Authorization: Bearer <token>"."""
        super().__init__(directory)
        authorization = {"type": "Bearer", "credentials": token}
        webhook = {
            "url": webhook_url,
            "send_resolved": True,
            "http_config": {"authorization": authorization},
        }
        self.config: Json = {
            "route": {
                "receiver": "webhook",
                "group_by": list(group_by),
                "group_wait": group_wait,
                "group_interval": group_interval,
                "repeat_interval": repeat_interval,
            },
            "receivers": [{"name": "webhook", "webhook_configs": [webhook]}],
        }

    def argv(self) -> list[str]:
        return [
            binary("prometheus-alertmanager", "alertmanager"),
            f"--config.file={self._write('alertmanager.yml', self.config)}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            "--cluster.listen-address=",  # one node: no gossip port that parallel runs would fight over
        ]

    def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        generator_url: str = "",
        ends_at: datetime | None = None,
    ) -> None:
        """Post one alert as Prometheus would; an ``ends_at`` (aware) that is past resolves it."""
        alert: Json = {"labels": dict(labels), "annotations": dict(annotations or {})}
        if generator_url:
            alert["generatorURL"] = generator_url
        if ends_at is not None:
            alert["endsAt"] = ends_at.astimezone(UTC).isoformat()
        self.post_alerts([alert])

    def post_alerts(self, alerts: Sequence[Json]) -> None:
        """Post alerts in the API's own shape (POST /api/v2/alerts); RuntimeError if it refuses them."""
        self.request("POST", "/api/v2/alerts", json=list(alerts))
