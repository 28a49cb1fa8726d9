"""All settings, from the environment and `.env`. docs: README, "Settings"."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.templatetags.static import static
from kombu import Exchange, Queue

from homelab import dotenv, logs
from homelab.env import (
    SQLITE_ENGINE,
    ConfigError,
    choice,
    data_directory,
    database,
    declared_maintenance,
    docker_hosts,
    dollars,
    embedding_model,
    env,
    folder,
    group_roles,
    header_name,
    kind_modes,
    names,
    networks,
    number,
    optional,
    own_hosts,
    prices,
    quiet_hours,
    read,
    secret_key,
    url,
    url_template,
    weekly,
)

BASE_DIR = Path(__file__).resolve().parent.parent
dotenv.read(BASE_DIR)
DATA_DIR = data_directory(BASE_DIR)

_changelog = re.search(r"^## (\S+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)
if _changelog is None:
    raise ConfigError("CHANGELOG.md names no version")
VERSION = _changelog[1]
SERVICE_NAME = "homelab-ai-agents"

# --- where people and programs reach us --------------------------------------------------------
DEBUG = False
PUBLIC_URL = url("PUBLIC_URL")
SECRET_KEY = secret_key(DATA_DIR)
ALLOWED_HOSTS = names("ALLOWED_HOSTS") or own_hosts(PUBLIC_URL)
OPEN_READ = read(env.bool, "HOMELAB_OPEN_READ", wanted="true or false", default=False)
METRICS_TOKEN = optional("METRICS_TOKEN")
MAX_BODY_BYTES = 32 * 1024 * 1024
# The cap is ours, checked while reading; Django's own would refuse an alert storm with a 400.
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES + 1
APPEND_SLASH = False  # a redirect would drop the body of a POST
if PUBLIC_URL:
    CSRF_TRUSTED_ORIGINS = [f"{urlsplit(PUBLIC_URL).scheme}://{urlsplit(PUBLIC_URL).netloc}"]
_https = bool(PUBLIC_URL and PUBLIC_URL.startswith("https://"))
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_SSL_REDIRECT = _https
SECURE_SSL_HOST = urlsplit(PUBLIC_URL).netloc if PUBLIC_URL and _https else None
SECURE_REDIRECT_EXEMPT = [r"^(alert|health|metrics)(/|$)"]  # machines inside a network speak plain http
# A browser applies it to every port of the host. Under a port of its own, PUBLIC_URL shares the host with
# programs that may have no TLS.
SECURE_HSTS_SECONDS = 30 * 86400 if PUBLIC_URL and _https and urlsplit(PUBLIC_URL).port is None else 0
# The other hosts of the domain are not ours: no word for subdomains, and no consent to a browser's list.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # Strict would log out who follows a link from a chat
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}
# unfold's menus are Alpine's: expressions in attributes, which it compiles as it meets them, and styles that
# it sets as attributes. Neither runs an inline script, so what got past the escaping would still do nothing
# unless it were one of Alpine's attributes.
ADMIN_CSP = {**SECURE_CSP, "script-src": ["'self'", "'unsafe-eval'"], "style-src-attr": ["'unsafe-inline'"]}
# Proxies whose X-Forwarded-For and sign-on headers are believed.
TRUSTED_PROXIES = networks("TRUSTED_PROXIES")
REMOTE_USER_HEADER = header_name("REMOTE_USER_HEADER")
REMOTE_GROUPS_HEADER = header_name("REMOTE_GROUPS_HEADER") or "Remote-Groups"
SSO_GROUPS = group_roles("SSO_GROUPS")
if bool(REMOTE_USER_HEADER) != bool(SSO_GROUPS):
    raise ConfigError("REMOTE_USER_HEADER and SSO_GROUPS: set both or neither")
if REMOTE_USER_HEADER and not TRUSTED_PROXIES:
    raise ConfigError("REMOTE_USER_HEADER: name the proxies that may send it in TRUSTED_PROXIES")

# --- Django ------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before Django's admin, whose templates it replaces
    "unfold.contrib.filters",
    "homelab.adminapp.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "homelab",
    "incidents",
    "agents",
    "metrics",
]
MIDDLEWARE = [
    "homelab.middleware.identified",
    "homelab.middleware.alerts_first",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "homelab.middleware.NoRedirectedBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "homelab.middleware.ContentSecurityPolicyMiddleware",
    "homelab.middleware.length_required",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "homelab.middleware.HostCheckMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "homelab.sso.SingleSignOnMiddleware",
    "homelab.middleware.known",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "homelab.urls"
WSGI_APPLICATION = "homelab.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # the few files there are come from the packages; nothing to collect
WHITENOISE_MIMETYPES = {".webmanifest": "application/manifest+json"}
LOGIN_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "homelab.formats"
USE_TZ = True
TIME_ZONE = read(env.str, "TZ", default="UTC")
try:
    ZoneInfo(TIME_ZONE)
except (ZoneInfoNotFoundError, ValueError) as error:
    raise ConfigError(f"TZ: {TIME_ZONE!r} is no time zone") from error

# --- the database ------------------------------------------------------------------------------
DATABASES = {"default": database("DATABASE_URL", f"sqlite:///{DATA_DIR / 'homelab.sqlite3'}")}
SQLITE = DATABASES["default"]["ENGINE"] == SQLITE_ENGINE
if SQLITE:
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}

# --- Celery: the row is the queue, the message is a hint with a primary key ----------------------
REDIS_URL = url("REDIS_URL", ("redis", "rediss", "unix"))
EMBEDDED = REDIS_URL is None
CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
# Without a timeout a worker would wait for ever on a connection that died without a word.
_redis_options = {"visibility_timeout": 600, "socket_connect_timeout": 5, "socket_timeout": 5}
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.05} if EMBEDDED else _redis_options
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: a worker that gave up would not be missed for long
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_PUBLISH_RETRY = False  # the sweep repeats
# By kind of work, so that none waits behind a backlog of another: a worker takes from each in turn. By
# default it takes all; `worker --queues crew` and so on keeps workers for one kind.
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), name) for name in ("crew", "telling", "records", "sweep")]
CELERY_TASK_DEFAULT_QUEUE = "records"
CELERY_TASK_ROUTES = {
    "agents.tasks.sweep_crew": {"queue": "sweep"},
    "incidents.tasks.sweep_records": {"queue": "sweep"},
    "incidents.tasks.deliver_notification": {"queue": "telling"},
    "incidents.tasks.*": {"queue": "records"},
    "agents.tasks.keep_chart": {"queue": "records"},
    "agents.tasks.*": {"queue": "crew"},
}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # keeps no file: what is due is in the database
CELERY_IMPORTS = () if EMBEDDED else ("homelab.prefork",)
CELERY_WORKER_PREFETCH_MULTIPLIER = 0 if EMBEDDED else 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not EMBEDDED
CELERY_TIMEZONE = "UTC"
# What a killed worker held is free after LEASE_SECONDS. Who lives renews it (two times may fail), until it
# has shown no progress for LEASE_LIMIT_SECONDS.
LEASE_SECONDS = 15
LEASE_RENEW_SECONDS = 4
LEASE_LIMIT_SECONDS = 170
# The same for a prefork worker's child, which is killed then. Leases are renewed, so the limit need not be
# shorter than one; it must be shorter than the visibility timeout, after which the broker gives the message
# to another worker. (Threads cannot be killed: there every client's own deadline is shorter.)
CELERY_TASK_TIME_LIMIT = LEASE_LIMIT_SECONDS
WORKER_THREADS = number("WORKER_THREADS", 8, least=3)

# --- the crew ----------------------------------------------------------------------------------
REMEDIATION_MODE = choice("REMEDIATION_MODE", ("observe", "approve", "auto"), "approve")
REMEDIATION_ACTIONS = kind_modes("REMEDIATION_ACTIONS")  # narrows the mode for a kind of change
MAINTENANCE = declared_maintenance("MAINTENANCE_FILE")
SILENCE_MAX_MINUTES = number("SILENCE_MAX_MINUTES", 240, least=1)
PROTECTED_TARGETS = names("PROTECTED_TARGETS")
PROOF_HOLD_SECONDS = number("PROOF_HOLD_SECONDS", 60)
PROOF_TIMEOUT_SECONDS = number("PROOF_TIMEOUT_SECONDS", 180, least=1)
FLAP_WINDOW_SECONDS = number("FLAP_WINDOW_SECONDS", 600)
APPROVAL_SECONDS = number("APPROVAL_SECONDS", 900, least=1)
RESTARTS_PER_HOUR = number("RESTARTS_PER_HOUR", 2)
COOLDOWN_SECONDS = number("COOLDOWN_SECONDS", 900)
CHANGES_PER_HOUR = number("CHANGES_PER_HOUR", 6)
# After so many verified changes of a kind for an alert, all approved by people, it offers to ask no more.
AUTONOMY_OFFER_AFTER = number("AUTONOMY_OFFER_AFTER", 8, least=1)
HEALTH_CHECK_SECONDS = number("HEALTH_CHECK_SECONDS", 300, least=5)
RECONCILE_SECONDS = number("RECONCILE_SECONDS", 60, least=1)
AUDIT_STUCK_SECONDS = number("AUDIT_STUCK_SECONDS", 300, least=1)
HEARTBEAT_URL = url("HEARTBEAT_URL")
WATCHDOG_SECONDS = number("WATCHDOG_SECONDS", 0)  # a watchdog alert silent for longer is an incident; 0: off

PROMETHEUS_URL = url("PROMETHEUS_URL")
ALERTMANAGER_URL = url("ALERTMANAGER_URL")
DOCKER_HOSTS = docker_hosts()

OPENAI_BASE_URL = url("OPENAI_BASE_URL")
OPENAI_API_KEY = optional("OPENAI_API_KEY")
OPENAI_MODEL = read(env.str, "OPENAI_MODEL", default="gpt-4o-mini")
OPENAI_TIMEOUT_SECONDS = number("OPENAI_TIMEOUT_SECONDS", 60, least=1)
OPENAI_FALLBACK_BASE_URL = url("OPENAI_FALLBACK_BASE_URL")
OPENAI_FALLBACK_API_KEY = optional("OPENAI_FALLBACK_API_KEY")
OPENAI_FALLBACK_MODEL = optional("OPENAI_FALLBACK_MODEL")
if OPENAI_FALLBACK_BASE_URL and OPENAI_FALLBACK_MODEL is None:
    raise ConfigError("OPENAI_FALLBACK_BASE_URL: name its model in OPENAI_FALLBACK_MODEL")
if OPENAI_FALLBACK_MODEL and not (
    OPENAI_FALLBACK_BASE_URL or OPENAI_FALLBACK_API_KEY or OPENAI_BASE_URL or OPENAI_API_KEY
):
    raise ConfigError("OPENAI_FALLBACK_MODEL: say where it is in OPENAI_FALLBACK_BASE_URL")
# What an agent may take in one step, and all of them together for one incident. Of the seconds, the slowest
# tools must be done before the task's own limit.
AGENT_STEPS = number("AGENT_STEPS", 8, least=1)
AGENT_TOKENS = number("AGENT_TOKENS", 40_000, least=1)
AGENT_SECONDS = number("AGENT_SECONDS", 120, least=1, most=LEASE_LIMIT_SECONDS - 30)
AGENT_USD = dollars("AGENT_USD", 0.25)
INCIDENT_STEPS = number("INCIDENT_STEPS", 60, least=1)
INCIDENT_TOKENS = number("INCIDENT_TOKENS", 200_000, least=1)
INCIDENT_SECONDS = number("INCIDENT_SECONDS", 900, least=1)
# More incidents than that in so many seconds are a storm: models that cost money are for critical ones.
STORM_INCIDENTS = number("STORM_INCIDENTS", 20, least=1)
STORM_SECONDS = number("STORM_SECONDS", 600, least=1)
LLM_BUDGET_DAILY_USD = dollars("LLM_BUDGET_DAILY_USD", 1.0)
LLM_BUDGET_MONTHLY_USD = dollars("LLM_BUDGET_MONTHLY_USD", None)
LLM_BUDGET_INCIDENT_USD = dollars("LLM_BUDGET_INCIDENT_USD", None)
LLM_PRICES = prices("LLM_PRICES")

# --- memory ------------------------------------------------------------------------------------
QDRANT_URL = url("QDRANT_URL")
QDRANT_API_KEY = optional("QDRANT_API_KEY")
EMBEDDING_MODEL = embedding_model()
# numpy reads it when it is loaded, which is later. Its second thread spins while it waits: without it a
# recall takes as long, half the processor time, and half as long beside other work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
RUNBOOKS_DIR = folder("RUNBOOKS_DIR")
if not EMBEDDED and QDRANT_URL is None:
    raise ConfigError("QDRANT_URL: more than one process (REDIS_URL is set) needs a Qdrant server")

# --- telling people ----------------------------------------------------------------------------
NOTIFY_URLS = names("NOTIFY_URLS")
TELEGRAM_BOT_TOKEN = optional("TELEGRAM_BOT_TOKEN")
TELEGRAM_CHAT_ID = optional("TELEGRAM_CHAT_ID")
if bool(TELEGRAM_BOT_TOKEN) != bool(TELEGRAM_CHAT_ID):
    raise ConfigError("TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID: set both or neither")
if TELEGRAM_BOT_TOKEN:
    NOTIFY_URLS.append(f"tgram://{TELEGRAM_BOT_TOKEN}/{TELEGRAM_CHAT_ID}")
# Told one after the other, each when nobody has answered a critical for so long; 0: never.
ESCALATION_URLS = names("ESCALATION_URLS")
ESCALATE_MINUTES = number("ESCALATE_MINUTES", 10)
if ESCALATION_URLS and not NOTIFY_URLS:
    raise ConfigError("ESCALATION_URLS: name who is told first in NOTIFY_URLS")
QUIET_HOURS = quiet_hours("QUIET_HOURS")
WEEKLY_REPORT = weekly("WEEKLY_REPORT", "mon 08:00")

# --- API ---------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "incidents.access.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["incidents.access.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["incidents.api.parsers.SafeJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "incidents.api.schema.Schema",
    "EXCEPTION_HANDLER": "incidents.api.errors.handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "homelab",
    "DESCRIPTION": (
        "Incidents, what the crew did about them, and the actions that wait for a person.\n\n"
        "Send `Authorization: Bearer TOKEN`, or log in. Lists are newest first, and `next` is where they go "
        "on. Ids are integers, times RFC 3339 in UTC, durations seconds; what is not known is null. Errors "
        "under `/api/` are problem details (RFC 9457); what is wrong with a field is in `errors`."
    ),
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "incidents.api.schema.finish",
        "homelab.openapi.add",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ActionKind": "agents.kinds.ActionKind",
        "DependencyState": "agents.api.health.DEPENDENCY_STATES",
        "JobState": "agents.api.health.JOB_STATES",
        "WorkState": "incidents.queue.State",
        "EventKind": "incidents.models.Event.Kind",
        "NotificationKind": "incidents.models.Notification.Kind",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- the admin's look ----------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "homelab",
    "SITE_HEADER": "homelab",
    "SITE_SYMBOL": "home_health",
    "SHOW_BACK_BUTTON": True,
    "SHOW_HISTORY": False,  # what was done, and by whom, is in the records' own timeline
    "STYLES": [lambda _request: static("homelab/admin.css")],
    "SCRIPTS": [lambda _request: static("homelab/admin.js")],
}

# --- metrics, logs and traces -------------------------------------------------------------------
PROMETHEUS_EXPORT_MIGRATIONS = False
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, float("inf"))
LOG_LEVEL = choice("LOG_LEVEL", ("debug", "info", "warning", "error"), "info").upper()
LOG_FORMAT = choice("LOG_FORMAT", ("json", "text"), "text" if logs.stream().isatty() else "json")
LOGGING = logs.config(level=LOG_LEVEL, style=LOG_FORMAT, embedded=EMBEDDED)
OTEL_EXPORTER_OTLP_ENDPOINT = url("OTEL_EXPORTER_OTLP_ENDPOINT")
OTEL_EXPORTER_OTLP_HEADERS = optional("OTEL_EXPORTER_OTLP_HEADERS")
TRACE_URL_TEMPLATE = url_template("TRACE_URL_TEMPLATE", "trace_id")
LOG_URL_TEMPLATE = url_template("LOG_URL_TEMPLATE", "incident_id")

# --- for tests: the commit at which this process kills itself --------------------------------------
CRASH_AT = optional("HOMELAB_CRASH_AT")
