"""Credentials in the admin: a key is written, and never shown."""

import os
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts_app.models import Right, User
from accounts_app.scoping import WORKSPACE_FILTER
from connectors_app import registry
from connectors_app.actions import keep_credential
from connectors_app.base.connector import Connector, Setting
from connectors_app.dependents import agents_asking, say_without
from connectors_app.models import Credential
from connectors_app.trial_pages import TriedCredentials, in_environment

LONGEST_KEY = 4000
NEW_KEY = "It is sealed, and never shown again. Only a custom endpoint and an Ollama may do without one."
ADDRESS = (
    "Empty: the provider's own. A custom endpoint and an Ollama have none: give theirs, such as "
    "https://models.example.com/v1 or http://localhost:11434."
)


class KeyField(forms.CharField):
    """A browser neither fills nor keeps it, and no answer repeats it."""

    def __init__(self, **options: Any) -> None:
        attributes = {"autocomplete": "new-password", "spellcheck": "false"}
        super().__init__(widget=UnfoldAdminPasswordWidget(attributes), **options)

    def clean(self, value: Any) -> str:
        key: str = super().clean(value)
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValidationError("A key has no spaces and no special characters: copy it once more.")
        return key


class SettingField(forms.RegexField):
    """One of a provider's settings beside key and address. `of`: shown when this provider is chosen."""

    def __init__(self, setting: Setting, of: type[Connector] | None = None) -> None:
        super().__init__(
            f"^(?:{setting.pattern})\\Z",
            label=setting.label,
            required=False,
            widget=UnfoldAdminTextInputWidget({"data-of": of.slug} if of else {}),
            help_text=f"{of.label} only. {setting.help}" if of else setting.help,
            error_messages={"invalid": f"This does not look like one. {setting.help}"},
        )


class CredentialForm(forms.ModelForm):
    """Settings of a provider beside key and address are fields of their own, named as in the environment."""

    key = KeyField(required=False, max_length=LONGEST_KEY, help_text=NEW_KEY)
    in_use = forms.BooleanField(
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="A provider has one credential in use: this one takes the place of the others.",
    )

    class Meta:
        model = Credential
        fields = ["workspace", "provider", "name", "base_url"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "base_url" in self.fields:
            self.fields["base_url"].help_text = ADDRESS
        if self.instance.pk:
            self.initial |= self.instance.more_settings | {"in_use": self.instance.is_active}
            if self.instance.key_set_at:
                self.fields["key"].help_text = f"Now: {self.instance.told}. Leave it empty to keep it."

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        provider, workspace = data.get("provider", self.instance.provider), data.get("workspace")
        connector = registry.with_credentials().get(provider)
        if connector:
            self._refuse_settings_of_others(connector)
        if connector and not self.errors:
            self._take_over(connector, workspace)
            self._check_name()
            self._check_settings(connector)
        return data

    @property
    def reseals(self) -> bool:
        """Something changed that is in the seal."""
        return not self.instance.pk or bool(set(self.changed_data) - {"name", "in_use"})

    def _refuse_settings_of_others(self, connector: type[Connector]) -> None:
        """The page does not send them."""
        own = {setting.name for setting in connector.more_settings}
        for name, field in self.fields.items():
            if isinstance(field, SettingField) and name not in own and self.cleaned_data.get(name):
                self.add_error(name, f"{connector.label} has no such setting: leave this empty.")

    def _take_over(self, connector: type[Connector], workspace: Any) -> None:
        self.instance.provider = connector.slug
        self.instance.workspace = workspace or self.instance.workspace
        self.instance.is_active = self.cleaned_data["in_use"]
        wanted = {setting.name: self.cleaned_data.get(setting.name, "") for setting in connector.more_settings}
        self.instance.more_settings = {name: value for name, value in wanted.items() if value}

    def _check_name(self) -> None:
        if Credential.objects.rivals(self.instance).filter(name=self.cleaned_data["name"]).exists():
            self.add_error("name", "The workspace has another credential of this provider with this name.")

    def _check_settings(self, connector: type[Connector]) -> None:
        """What the provider cannot do without, by its own word."""
        is_kept = bool(self.instance.key_set_at) and not self.cleaned_data["key"]
        if is_kept and self.reseals and (why := self.instance.why_shut()):
            self.add_error("key", f"The stored key cannot be opened: {why}.")
        own = {
            connector.key_setting: "kept" if is_kept else self.cleaned_data["key"],
            connector.base_url_setting: self.cleaned_data.get("base_url", self.instance.base_url),
            **self.instance.more_settings,
        }
        names = {connector.key_setting: "key", connector.base_url_setting: "base_url"}
        for setting in connector.missing_settings(connector.own_settings(own, os.environ)):
            field = names.get(setting, setting)
            shown = field in self.fields
            self.add_error(field if shown else None, _say_missing(connector, field, shown))


def _say_missing(connector: type[Connector], field: str, shown: bool) -> str:
    if field == "base_url" and not shown:
        return f"{connector.label} needs an address, which only superusers set."
    return f"{connector.label} needs this."


def _more_fields(credential: Credential | None) -> dict[str, SettingField]:
    """Those of the credential's provider, or of every one that may be chosen."""
    if credential is None:
        several = registry.with_credentials().values()
        return {setting.name: SettingField(setting, one) for one in several for setting in one.more_settings}
    own = credential.connector
    return {setting.name: SettingField(setting) for setting in own.more_settings} if own else {}


def provider_field(*, may_set_address: bool) -> forms.ChoiceField:
    offered = registry.enterable(os.environ, with_address=may_set_address)
    choices = [("", "---------"), *((slug, connector.label) for slug, connector in offered.items())]
    left_out = [connector.label for slug, connector in registry.with_credentials().items() if slug not in offered]
    why = f" Not here: {' and '.join(left_out)}, whose address only superusers set." if left_out else ""
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), help_text=_say_environment() + why)


def _say_environment() -> str:
    if labels := in_environment().values():
        return f"The environment has keys for {', '.join(labels)}, for every workspace. A credential comes before them."
    return "The environment has no provider keys."


@admin.register(Credential)
class CredentialAdmin(TriedCredentials):
    """An address sends keys and callers' words to another machine, maybe one inside: only superusers set it."""

    right = Right.MANAGE
    form = CredentialForm
    list_display = ["name", "of_provider", "workspace", "key", "is_active", "tested"]
    list_before_template = "admin/connectors_app/credential/environment.html"
    list_filter = [WORKSPACE_FILTER, "provider", "is_active"]
    search_fields = ["name", "provider"]
    list_select_related = ["workspace"]

    class Media:
        css = {"all": ["connectors_app/credential.css"]}
        js = ["connectors_app/credential_form.js"]

    @admin.display(description="provider", ordering="provider")
    def of_provider(self, credential: Credential) -> str:
        return credential.connector.label if credential.connector else f"{credential.provider} (not in this version)"

    @admin.display(description="key")
    def key(self, credential: Credential) -> str:
        return credential.told

    def get_fields(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        provider = "of_provider" if obj else "provider"
        shown = ["workspace", provider, "name", "key", "base_url", *_more_fields(obj), "test", "in_use"]
        shown += ["created_by", "created_at", "updated_at"] if obj else []
        return [name for name in shown if obj or name != "base_url" or request.user.is_superuser]

    def get_readonly_fields(self, request: HttpRequest, obj: Credential | None = None) -> list[str]:
        fixed = ["workspace", "of_provider", "test", "created_by", "created_at", "updated_at"] if obj else ["test"]
        return fixed if request.user.is_superuser else [*fixed, "base_url"]

    def get_form(self, request: HttpRequest, obj: Credential | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = type("CredentialForm", (CredentialForm,), dict(_more_fields(obj)))
        return super().get_form(request, obj, change, **kwargs | {"form": form})

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "provider":
            return provider_field(may_set_address=bool(request.user.is_superuser))
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        facts = {"environment_keys": _say_environment(), "environment": in_environment().items()}
        return super().changelist_view(request, {**(extra_context or {}), **facts})

    @method_decorator(sensitive_post_parameters("key"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            self.message_user(request, "Somebody else saved a credential just now: try again.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Credential, form: CredentialForm, change: bool) -> None:
        if not change:
            assert isinstance(request.user, User)
            obj.created_by = request.user
        keep_credential(credential=obj, key=form.cleaned_data["key"], reseal=form.reseals)
        if change and "name" in form.changed_data:
            self._warn(request, obj, obj.named_by(form.initial["name"]), f"name it “{form.initial['name']}” still")
        if change and "in_use" in form.changed_data and not obj.is_active:
            self._warn_without(request, obj, did="used")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        if "post" not in request.POST:  # it is asked first
            chosen = list(objs)
            for credential in chosen:
                self._warn(request, credential, credential.named_by(), f"name “{credential.name}”")
                if credential.is_active:
                    self._warn_without(request, credential, did="use", gone=[one.pk for one in chosen])
        return super().get_deleted_objects(objs, request)

    def _warn_without(self, request: HttpRequest, its: Credential, *, did: str, gone: Sequence[int] = ()) -> None:
        if agents := agents_asking(its):
            self.message_user(request, say_without(its, agents, did=did, gone=gone), messages.WARNING)

    def _warn(self, request: HttpRequest, credential: Credential, agents: Sequence[str], do_what: str) -> None:
        if agents:
            does = f"Published agents {do_what}: {', '.join(agents)}"
            without = f"Without it their calls pass {self.of_provider(credential)} over."
            self.message_user(request, f"{does}. {without}", messages.WARNING)
