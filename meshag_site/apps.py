"""The site as an app, so that Django finds its commands."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "meshag_site"
    verbose_name = "MeshAG"
