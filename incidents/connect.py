"""How senders are connected: what to paste into Alertmanager and Prometheus, with this program's address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

FIRST_RUN_FILE = "first-run.json"  # in the data directory: the first admin and the first tokens
PLACEHOLDER = "TOKEN"
RECEIVER = """\
receivers:
  - name: homelab
    webhook_configs:
      - url: {url}/alert
        send_resolved: true
        http_config:
          authorization:
            credentials: {token}"""
ROUTE = """\
route:
  receiver: homelab
  routes:
    # What is about homelab itself must not need homelab.
    - matchers: ['component="homelab-ai-agents"']
      receiver: people
"""
SCRAPE = """\
scrape_configs:
  - job_name: ai-agents
    scrape_interval: 30s
    scheme: {scheme}
    metrics_path: {path}/metrics
    static_configs:
      - targets: ["{host}"]"""
CREDENTIALS = """
    authorization:
      credentials: METRICS_TOKEN  # the value of that setting"""
RULES = """\
rule_files:
  # The first two come with homelab, in metrics/prometheus/.
  - homelab/recording.yml
  - homelab/alerts.yml
  - first.yml"""
FIRST_RULE = """\
groups:
  - name: first
    rules:
      - alert: InstanceDown
        expr: up == 0
        for: 1m
        labels:
          severity: critical
        annotations:
          summary: "{{ $labels.instance }} of {{ $labels.job }} is down"
"""


@dataclass(frozen=True)
class Snippet:
    """Text to paste into a file of another program."""

    key: str
    title: str
    file: str
    text: str


def receiver(url: str, token: str) -> str:
    return RECEIVER.format(url=url, token=token)


def snippets(url: str, token: str = PLACEHOLDER) -> list[Snippet]:
    """All of them. `url`: of this program, as the others reach it, without a slash at its end."""
    alertmanager = (
        f"{ROUTE}{receiver(url, token)}\n  - name: people\n    # telegram_configs, email_configs, ..."
    )
    return [
        Snippet("alertmanager", "Alertmanager sends its alerts here", "alertmanager.yml", alertmanager),
        Snippet("prometheus", "Prometheus watches homelab", "prometheus.yml", f"{_scrape(url)}\n{RULES}"),
        Snippet("rule", "A first alert rule, if there is none yet", "first.yml", FIRST_RULE.rstrip()),
    ]


def _scrape(url: str) -> str:
    parts = urlsplit(url)
    text = SCRAPE.format(scheme=parts.scheme, host=parts.netloc, path=parts.path.rstrip("/"))
    return text + CREDENTIALS if settings.METRICS_TOKEN else text


def first_run_file() -> Path | None:
    """Where the first tokens still are; None once the file is deleted, as careful people do."""
    file: Path = settings.DATA_DIR / FIRST_RUN_FILE
    return file if file.exists() else None
