"""What one process measures by itself, for what was refused is in no table. Prometheus adds the processes up,
and sees their restarts.
"""

from __future__ import annotations

from prometheus_client import Counter

CODES = ("200", "400", "401", "403", "413", "500", "503")

WEBHOOK_ANSWERS = Counter("ai_agents_webhook_answers", "Answers of /alert by HTTP status", ["code"])
for _code in CODES:  # a series that appears with its first event hides it from increase()
    WEBHOOK_ANSWERS.labels(_code)
