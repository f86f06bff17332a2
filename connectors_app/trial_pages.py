"""The Test buttons of credentials: in the list, in the form before it is saved, and for the environment's keys."""

import os
import secrets
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from accounts_app.scoping import WithinWorkspaces
from connectors_app import registry
from connectors_app.actions import try_credential, try_values
from connectors_app.models import Credential
from connectors_app.sealing import CannotOpen
from connectors_app.trials import Outcome, try_provider

OUTCOME = "admin/connectors_app/credential/outcome.html"
LIST = "admin:connectors_app_credential_changelist"
FIRST_FILL_IN = "Not tested: the form needs another look first."


def in_environment() -> dict[str, str]:
    """By slug the names of the providers that work without a row, for every workspace."""
    known = registry.with_credentials()
    return {slug: one.label for slug, one in known.items() if not one.missing_settings(os.environ)}


class TriedCredentials(WithinWorkspaces):
    """Each page asks whether this person may change the credential: the answer says something of the account.

    Only superusers set addresses, so nobody else has this machine ask another than the provider's.
    """

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "environment_test": ("environment/<slug:provider>/test/", self.test_environment),
            "new_test": ("add/test/", self.test_new),
            "changed_test": ("<path:object_id>/change/test/", self.test_changed),
            "test": ("<path:object_id>/test/", self.test_stored),
        }
        own = [
            path(way, self.admin_site.admin_view(view), name=f"connectors_app_credential_{name}")
            for name, (way, view) in pages.items()
        ]
        return [*own, *super().get_urls()]

    # -- pages -----------------------------------------------------------------------------------------------

    def test_stored(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = self._find(request, object_id)
        outcome = try_credential(credential=credential)
        return self._answer(request, outcome, credential.name, tested=True)

    def test_environment(self, request: HttpRequest, provider: str) -> HttpResponse:
        """The installation's own keys."""
        _expect_post(request)
        if not request.user.is_superuser:
            raise PermissionDenied
        connector = registry.with_credentials().get(provider)
        if connector is None:
            raise Http404("There is no such provider.")
        return self._answer(request, try_provider(provider, os.environ, is_own=False), connector.label)

    @method_decorator(sensitive_post_parameters("key"))
    def test_new(self, request: HttpRequest) -> HttpResponse:
        _expect_post(request)
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._test_form(request, None)

    @method_decorator(sensitive_post_parameters("key"))
    def test_changed(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._test_form(request, self._find(request, object_id))

    # -- what they share -------------------------------------------------------------------------------------

    def _find(self, request: HttpRequest, object_id: str) -> Credential:
        """Raises Http404 for what is not theirs to see, PermissionDenied for what is not theirs to change."""
        _expect_post(request)
        credential = self.get_object(request, unquote(object_id))
        if not isinstance(credential, Credential):
            raise Http404("There is no such credential.")
        if not self.has_change_permission(request, credential):
            raise PermissionDenied
        return credential

    def _test_form(self, request: HttpRequest, credential: Credential | None) -> HttpResponse:
        """What stands in the form. Its name does not matter, and nothing is saved."""
        filled = request.POST.copy()
        filled["name"] = secrets.token_hex(16)
        make: Any = self.get_form(request, credential, change=credential is not None)
        form = make(filled, instance=credential)
        if not form.is_valid():
            return self._answer(request, Outcome(False, _say_errors(form)), "Credential")
        if credential and not form.reseals:
            return self._answer(request, try_credential(credential=credential), "Credential", tested=True)
        key = form.cleaned_data["key"]
        try:
            key = key or _kept_key(form.instance)
        except CannotOpen as error:
            return self._answer(request, Outcome(False, f"The stored key cannot be opened: {error}."), "Credential")
        outcome = try_values(credential=form.instance, values=form.instance.values_with(key))
        return self._answer(request, outcome, "Credential")

    def _answer(self, request: HttpRequest, outcome: Outcome, what: str, *, tested: bool = False) -> HttpResponse:
        """A piece of the page, or without scripts the list with a message."""
        if request.headers.get("HX-Request"):
            return TemplateResponse(request, OUTCOME, {"outcome": outcome, "is_kept": tested})
        took = f" ({outcome.ms} ms)" if outcome.was_asked else ""
        level = messages.SUCCESS if outcome.works else messages.ERROR
        self.message_user(request, f"{what}: {outcome.said}{took}", level)
        return redirect(LIST)

    # -- buttons ---------------------------------------------------------------------------------------------

    @admin.display(description="test")
    def test(self, credential: Credential) -> SafeString:
        """In the form: of what stands there now."""
        name = "changed_test" if credential.pk else "new_test"
        return self._button(credential, name, "Test what stands here")

    @admin.display(description="test", ordering="test_passed")
    def tested(self, credential: Credential) -> SafeString:
        """In the list: of what is stored."""
        return self._button(credential, "test", f"Test {credential.name}")

    def _button(self, credential: Credential, name: str, label: str) -> SafeString:
        where = [credential.pk] if credential.pk else []
        address = reverse(f"admin:connectors_app_credential_{name}", args=where)
        facts = {"credential": credential, "address": address, "label": label, "is_form": name != "test"}
        return render_to_string("admin/connectors_app/credential/test.html", facts)


def _expect_post(request: HttpRequest) -> None:
    if request.method != "POST":
        raise PermissionDenied


def _kept_key(credential: Credential) -> str:
    """Raises CannotOpen."""
    connector = credential.connector
    return credential.opened().get(connector.key_setting, "") if credential.key_set_at and connector else ""


def _say_errors(form: Any) -> str:
    labels = {name: field.label or name.replace("_", " ").capitalize() for name, field in form.fields.items()}
    found = [f"{labels[name]}: {errors[0]}" if name in labels else errors[0] for name, errors in form.errors.items()]
    return " ".join([FIRST_FILL_IN, *map(str, found)])
