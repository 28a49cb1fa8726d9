"""App configuration."""

from django.apps import AppConfig
from django.conf import settings

from homelab import crashpoints
from homelab.env import ConfigError


class HomelabConfig(AppConfig):
    name = "homelab"

    def ready(self) -> None:
        from incidents import notifications  # noqa: PLC0415 models are not importable before this moment

        if wrong := notifications.unreadable():
            raise ConfigError(f"{' and '.join(wrong)} cannot be read; see https://appriseit.com")
        if settings.CRASH_AT:
            crashpoints.install(settings.CRASH_AT, settings.DATA_DIR)
