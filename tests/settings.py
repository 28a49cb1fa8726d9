"""Settings of the tests: nothing of the caller's environment, no .env, a data directory of their own."""

import os
import tempfile

KEEP = ("DATABASE_URL",)  # `make test` may run the suite on PostgreSQL as well
NAMES = [
    "PUBLIC_URL",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "HOMELAB_OPEN_READ",
    "METRICS_TOKEN",
    "TRUSTED_PROXIES",
    "REMOTE_USER_HEADER",
    "REMOTE_GROUPS_HEADER",
    "SSO_GROUPS",
    "TZ",
    "REDIS_URL",
    "WORKER_THREADS",
    "REMEDIATION_MODE",
    "REMEDIATION_ACTIONS",
    "MAINTENANCE_FILE",
    "SILENCE_MAX_MINUTES",
    "PROTECTED_TARGETS",
    "PROOF_HOLD_SECONDS",
    "PROOF_TIMEOUT_SECONDS",
    "FLAP_WINDOW_SECONDS",
    "APPROVAL_SECONDS",
    "RESTARTS_PER_HOUR",
    "COOLDOWN_SECONDS",
    "CHANGES_PER_HOUR",
    "AUTONOMY_OFFER_AFTER",
    "HEALTH_CHECK_SECONDS",
    "WATCHDOG_SECONDS",
    "RECONCILE_SECONDS",
    "AUDIT_STUCK_SECONDS",
    "HEARTBEAT_URL",
    "PROMETHEUS_URL",
    "ALERTMANAGER_URL",
    "DOCKER_HOST",
    "DOCKER_HOSTS",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_MODEL",
    "OPENAI_TIMEOUT_SECONDS",
    "OPENAI_FALLBACK_BASE_URL",
    "OPENAI_FALLBACK_API_KEY",
    "OPENAI_FALLBACK_MODEL",
    "AGENT_STEPS",
    "AGENT_TOKENS",
    "AGENT_SECONDS",
    "AGENT_USD",
    "INCIDENT_STEPS",
    "INCIDENT_TOKENS",
    "INCIDENT_SECONDS",
    "STORM_INCIDENTS",
    "STORM_SECONDS",
    "LLM_BUDGET_DAILY_USD",
    "LLM_BUDGET_MONTHLY_USD",
    "LLM_BUDGET_INCIDENT_USD",
    "LLM_PRICES",
    "QDRANT_URL",
    "QDRANT_API_KEY",
    "EMBEDDING_MODEL",
    "RUNBOOKS_DIR",
    "NOTIFY_URLS",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_CHAT_ID",
    "ESCALATION_URLS",
    "ESCALATE_MINUTES",
    "QUIET_HOURS",
    "WEEKLY_REPORT",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "HOMELAB_CRASH_AT",
]
for name in NAMES:
    os.environ.pop(name, None)
    os.environ.pop(f"{name}_FILE", None)
os.environ["HOMELAB_ENV_FILE"] = os.devnull
os.environ["HOMELAB_DATA_DIR"] = tempfile.mkdtemp(prefix="homelab-tests-")
os.environ["DOCKER_HOST"] = "off"
os.environ["SECRET_KEY"] = "only-for-tests-" * 4

from homelab.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMBEDDING_MODEL = "builtin"
# The thread that renews leases would wait for the lock of the test's own transaction.
LEASE_RENEW_SECONDS = 3600
# What one test computed is no answer to another.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
