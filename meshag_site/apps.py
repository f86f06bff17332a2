"""The site as an app, so that Django finds its commands."""

from django.apps import AppConfig
from django.contrib.admin import apps


class SiteConfig(AppConfig):
    name = "meshag_site"
    verbose_name = "MeshAG"


class AdminConfig(apps.AdminConfig):
    """Django's admin, with our door."""

    default = False  # of this module; the settings name it
    default_site = "meshag_site.admin_site.Site"
