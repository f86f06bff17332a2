"""The app's name for Django."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    name = "connectors_app"
    verbose_name = "Connectors"
