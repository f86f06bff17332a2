"""The admin as a site: who comes in, and by which door."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

if TYPE_CHECKING:  # unfold has no types
    UnfoldAdminSite = AdminSite
else:
    from unfold.sites import UnfoldAdminSite


class Site(UnfoldAdminSite):
    index_title = "Overview"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """One door for the dashboard and the admin."""
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def has_permission(self, request: HttpRequest) -> bool:
        """Raises PermissionDenied for who has signed in and is no staff: signing in again would not help."""
        if super().has_permission(request):
            return True
        if request.user.is_authenticated:
            raise PermissionDenied
        return False
