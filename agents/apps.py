"""App configuration: receivers and jobs are connected when Django is ready."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from agents import wiring  # noqa: PLC0415 models are not importable before this moment

        wiring.connect()
