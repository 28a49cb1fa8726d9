"""App configuration."""

from django.apps import AppConfig
from django.conf import settings

from incidents.own_secrets import own_secrets
from incidents.redaction import hide_everywhere


class IncidentsConfig(AppConfig):
    name = "incidents"
    verbose_name = "Records"  # "Incidents" is what one of its tables is called

    def ready(self) -> None:
        hide_everywhere(own_secrets(settings))
        from incidents import accounts  # noqa: PLC0415 it needs the models

        accounts.connect()
