"""The app's name for Django."""

from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "pipelines_app"
    verbose_name = "Agents and pipelines"
