"""The pages of one agent in the admin beside its form: versions, comparing, the whole document, and reading only."""

import json
import os
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts_app.models import Right, User
from accounts_app.scoping import WithinWorkspaces, allows
from connectors_app import registry
from mesh.config.json_text import load_json, revision
from mesh.config.problems import ConfigError, Problem
from mesh.config.rules import warnings
from pipelines_app import drafts
from pipelines_app.actions import (
    ChangedMeanwhile,
    DraftWouldBeLost,
    NeverPublished,
    check_document,
    find_version,
    lock_agent,
    publish_agent,
    restore_version,
    roll_back_agent,
    save_agent,
    withdraw_agent,
)
from pipelines_app.comparing import Difference, compare
from pipelines_app.drawing import Arrow, draw
from pipelines_app.forms import CHANGED_MEANWHILE
from pipelines_app.models import Agent, AgentVersion
from pipelines_app.naming import name_of
from pipelines_app.providers import Keys, ProviderList
from pipelines_app.warning import all_warnings

DRAFT = "draft"
DRAFT_CHANGED = (
    "Not published: somebody else has changed the draft since you opened this page. Look at it, and try again."
)


def enterable_credentials(request: HttpRequest, agent: Agent) -> frozenset[str]:
    """The slugs of those that this person can enter for the agent's workspace."""
    if not allows(request, Right.MANAGE, agent):
        return frozenset()
    return frozenset(registry.enterable(os.environ, with_address=bool(request.user.is_superuser)))


@dataclass(frozen=True, slots=True)
class State:
    """How the draft stands to what new sessions run."""

    published: AgentVersion | None
    differences: tuple[Difference, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, agent: Agent) -> "State":
        differences = compare(agent.published.config, agent.draft) if agent.published else ()
        try:
            check_document(agent.draft, agent.workspace_id)
        except ConfigError as error:
            return cls(agent.published, differences, error.problems)
        return cls(agent.published, differences, ())

    @property
    def is_published(self) -> bool:
        return self.published is not None and not self.differences


class PublishForm(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=200,
        label="Note (optional)",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "What is new, and why"}),
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput())


class CompareForm(forms.Form):
    old = forms.ChoiceField(label="Before", widget=UnfoldAdminSelectWidget())
    new = forms.ChoiceField(label="After", widget=UnfoldAdminSelectWidget())

    def __init__(self, agent: Agent, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        versions = [(str(version.number), f"Version {version.number}") for version in agent.versions.all()]
        for name in ("old", "new"):
            self.fields[name].choices = [(DRAFT, "Draft"), *versions]  # type: ignore[attr-defined]


class DocumentForm(forms.Form):
    """Any JSON object is kept: a draft may be unfinished."""

    document = forms.CharField(
        label="The configuration document",
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 30, "spellcheck": "false"}),
    )

    seen = forms.CharField(required=False, widget=forms.HiddenInput())

    def __init__(self, agent: Agent, data: QueryDict | None = None) -> None:
        text = json.dumps(agent.draft, indent=2, ensure_ascii=False)
        self.revision = revision(agent.draft)
        super().__init__(data, initial={"document": text, "seen": self.revision})

    def clean_seen(self) -> None:
        if self.cleaned_data["seen"] not in ("", self.revision):
            raise forms.ValidationError(CHANGED_MEANWHILE)

    def clean_document(self) -> dict[str, Any]:
        try:
            document = load_json(self.cleaned_data["document"])
        except ConfigError as error:
            raise forms.ValidationError([f"This {problem.message}." for problem in error.problems]) from None
        if not isinstance(document, dict):
            raise forms.ValidationError("This must be one JSON object: it starts with { and ends with }.")
        return document


class AgentPages(WithinWorkspaces):
    """Each page asks: may this person see the agent, and for what changes something, may they build."""

    change_right = Right.BUILD

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "versions": self.versions_page,
            "compare": self.compare_page,
            "document": self.document_page,
            "export": self.export_page,
            "publish": self.publish_page,
            "restore": self.restore_page,
            "publish-again": self.publish_again_page,
            "withdraw": self.withdraw_page,
        }
        own = [
            path(f"<path:object_id>/{word}/", self.admin_site.admin_view(view), name=f"pipelines_app_agent_{word}")
            for word, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def find(self, request: HttpRequest, object_id: str, *, to_change: bool = False) -> Agent:
        """Raises Http404 for what is not theirs to see, PermissionDenied for what is not theirs to change."""
        agent = self.get_object(request, unquote(object_id))
        if not isinstance(agent, Agent):
            raise Http404("There is no such agent.")
        allowed = self.has_change_permission if to_change else self.has_view_permission
        if not allowed(request, agent) or (to_change and request.method != "POST"):
            raise PermissionDenied
        return agent

    def show(self, request: HttpRequest, page: str, agent: Agent, title: str, **context: Any) -> HttpResponse:
        return TemplateResponse(
            request,
            f"admin/pipelines_app/agent/{page}.html",
            {
                **self.admin_site.each_context(request),
                **self.facts(request, agent),
                "opts": self.opts,
                "original": agent,
                "title": f"{agent.name}: {title}",
                "page": page,
                **context,
            },
        )

    def facts(self, request: HttpRequest, agent: Agent) -> dict[str, Any]:
        return {
            "agent": agent,
            "state": State.of(agent),
            "was_published": agent.versions.exists(),
            "may_change": self.has_change_permission(request, agent),
            "enterable": enterable_credentials(request, agent),
            "call_url": f"/call/{agent.workspace.slug}/{agent.slug}/",
        }

    # -- pages -----------------------------------------------------------------------------------------------

    def read_page(self, request: HttpRequest, agent: Agent) -> HttpResponse:
        document = agent.draft if isinstance(agent.draft, dict) else {}
        steps = drafts.flow_steps(document)
        keys = Keys.of(os.environ, [agent.workspace_id], document)
        providers = [ProviderList(role, document, keys, True, None) for role in drafts.roles(steps)]
        picture = draw([Arrow(step["from"], step["to"], step["stream"]) for step in steps])
        variables = list(drafts.section(document, "variables").items())
        facts = {"document": document, "variables": variables, "providers": providers, "picture": picture}
        return self.show(request, "read", agent, "draft", **facts)

    def versions_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self.find(request, object_id)
        versions = agent.versions.select_related("published_by")
        publish_form = PublishForm(initial={"seen": revision(agent.draft)})
        return self.show(request, "versions", agent, "versions", versions=versions, publish_form=publish_form)

    def compare_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self.find(request, object_id)
        newest = str(agent.published.number) if agent.published else DRAFT
        form = CompareForm(agent, request.GET or {"old": newest, "new": DRAFT})
        differences = None
        if form.is_valid():
            old, new = (self.content(agent, form.cleaned_data[name]) for name in ("old", "new"))
            differences = compare(old, new)
        return self.show(request, "compare", agent, "compare", form=form, differences=differences)

    def content(self, agent: Agent, choice: str) -> Any:
        return agent.draft if choice == DRAFT else find_version(agent=agent, number=int(choice)).config

    def document_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self.find(request, object_id, to_change=request.method == "POST")
        with transaction.atomic():
            if request.method == "POST":
                lock_agent(agent)
            form = DocumentForm(agent, request.POST or None)
            if request.method == "POST" and form.is_valid():
                agent.draft = form.cleaned_data["document"]
                save_agent(agent=agent, changed=["draft"])
                self.log_change(request, agent, "Replaced the whole document.")
                tell_draft(request, agent)
                return redirect(request.path)
        return self.show(request, "document", agent, "whole document", form=form)

    def export_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self.find(request, object_id)
        choice = request.GET.get("version", DRAFT)
        try:
            document = self.content(agent, choice)
        except (NeverPublished, ValueError):
            raise Http404("There is no such version.") from None
        name = f"{agent.slug}-{'draft' if choice == DRAFT else f'version-{int(choice)}'}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return JsonResponse(
            document, headers=headers, json_dumps_params={"indent": 2, "ensure_ascii": False}, safe=False
        )

    # -- what changes something ------------------------------------------------------------------------------

    def publish_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self.find(request, object_id, to_change=True)
        form = PublishForm(request.POST)
        if form.is_valid():
            self.publish_one(request, agent, form.cleaned_data["note"], form.cleaned_data["seen"])
        else:
            messages.error(request, "Not published: the note has room for 200 characters.")
        return self.back_to("versions", agent)

    def restore_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first when the draft would be lost."""
        agent, number = self.find(request, object_id, to_change=True), request.POST.get("number", "")
        try:
            version = find_version(agent=agent, number=int(number))
        except (NeverPublished, ValueError):
            raise Http404("There is no such version.") from None
        try:
            restore_version(agent=agent, number=version.number, lost=request.POST.get("lost", ""))
        except DraftWouldBeLost:
            differences = compare(version.config, agent.draft)
            facts = {"version": version, "differences": differences, "lost": revision(agent.draft)}
            return self.show(request, "restore", agent, "restore", **facts)
        self.log_change(request, agent, f"Restored version {version.number} into the draft.")
        messages.success(request, f"The draft is now as version {version.number}. Callers notice when you publish it.")
        warn_of_calls(request, agent, agent.draft)
        return self.back_to("versions", agent)

    def withdraw_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first."""
        agent = self.find(request, object_id, to_change=True)
        if "sure" not in request.POST:
            return self.show(request, "withdraw", agent, "take out of service")
        withdraw_agent(agent=agent)
        self.log_change(request, agent, "Taken out of service.")
        messages.success(
            request, f"{agent.name} is out of service: it answers no new calls until you publish it again."
        )
        return self.back_to("versions", agent)

    def publish_again_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent, number = self.find(request, object_id, to_change=True), request.POST.get("number", "")
        try:
            publish_again(request, agent, int(number))
        except (NeverPublished, ValueError):
            raise Http404("There is no such version.") from None
        return self.back_to("versions", agent)

    def publish_one(self, request: HttpRequest, agent: Agent, note: str = "", seen: str = "") -> None:
        assert isinstance(request.user, User)
        before = agent.published
        try:
            version = publish_agent(agent=agent, by=request.user, note=note, seen=seen)
        except ChangedMeanwhile:
            messages.error(request, DRAFT_CHANGED)
            return
        except ConfigError as error:
            messages.error(request, f"Not published: {agent.name}: {told(error.problems)}")
            return
        if version == before:
            messages.info(
                request, f"Nothing new to publish: new calls of {agent.name} run version {version.number} already."
            )
        else:
            messages.success(request, f"Published. New calls of {agent.name} run version {version.number}.")
        warn_of_calls(request, agent, version.config)

    def back_to(self, word: str, agent: Agent) -> HttpResponse:
        return redirect(reverse(f"admin:pipelines_app_agent_{word}", args=[agent.pk]))


def publish_again(request: HttpRequest, agent: Agent, number: int) -> None:
    """Raises NeverPublished."""
    assert isinstance(request.user, User)
    try:
        newest = roll_back_agent(agent=agent, number=number, by=request.user)
    except ConfigError as error:
        messages.error(request, f"Not published: {agent.name}, version {number}: {told(error.problems)}")
    else:
        messages.success(request, f"Published. New calls of {agent.name} run version {newest.number}: {newest.note}.")
        warn_of_calls(request, agent, newest.config)


def warn_of_calls(request: HttpRequest, agent: Agent, document: Any) -> None:
    for warning in all_warnings(document, agent.workspace_id):
        messages.warning(request, warning)


def tell_draft(request: HttpRequest, agent: Agent) -> None:
    """What was saved, and what stands in the way of publishing it or looks like a mistake."""
    try:
        config = check_document(agent.draft, agent.workspace_id)
    except ConfigError as error:
        messages.warning(request, f"The draft is saved, but cannot be published yet: {told(error.problems)}")
        return
    messages.success(request, "The draft is saved. Callers notice when you publish it.")
    for warning in warnings(config):
        said = f"{name_of(warning.path)}: {warning.message}"
        messages.warning(request, f"Looks like a mistake, but can be published: {said}.")


def told(problems: tuple[Problem, ...]) -> str:
    return "; ".join(map(str, problems))
