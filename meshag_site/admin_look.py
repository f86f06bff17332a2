"""How the admin looks: unfold's settings. Its colours are in static/css/admin.css, beside the pages' own."""

from typing import Any

from django.templatetags.static import static

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "MeshAG",
    "SITE_HEADER": "MeshAG",
    "SITE_SUBHEADER": "Admin",
    "SITE_URL": "/",
    "SITE_ICON": lambda request: static("icon.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("icon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda request: static("css/admin.css")],
    "SCRIPTS": [lambda request: static("js/admin.js")],
    "SIDEBAR": {"navigation": "meshag_site.admin_pages.navigation"},
    "DASHBOARD_CALLBACK": "meshag_site.admin_pages.add_overview",
    "GLOBAL_CALLBACK": "meshag_site.admin_pages.without_inline_style",
}
