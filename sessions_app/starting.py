"""The page on which a session is started for somebody who comes by a program of their own."""

import time
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts_app.models import Right, User, Workspace
from mesh.asking import Opened
from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError
from pipelines_app.models import Agent
from sessions_app import invitations
from sessions_app.actions import carrier, start_session
from sessions_app.addresses import socket_origin
from sessions_app.invitations import Invitation
from sessions_app.models import Session
from sessions_app.switchboard import Refused, TransportAway
from sessions_app.views import session_to_run

OWN = "own"
MOST_AGENTS = 200
ROW_WITHIN = 2.0


class StartForm(forms.Form):
    """Of an agent that is published, or of a document that is written here."""

    agent = forms.ChoiceField(label="Agent")
    name = forms.CharField(max_length=200, required=False, help_text="For you, to find the session again.")
    captions = forms.BooleanField(required=False, initial=True, label="Send captions to the caller")
    workspace = forms.ModelChoiceField(Workspace.objects.none(), required=False, to_field_name="slug", empty_label=None)
    document = forms.CharField(
        required=False,
        label="Configuration document",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "mono"}),
    )

    def __init__(self, user: User, data: Any = None, *, chosen: str = "") -> None:
        super().__init__(data, label_suffix="", initial={"agent": chosen})
        agents = Agent.objects.for_user(user, Right.RUN).filter(published__isnull=False)
        self.agents = {
            f"{agent.workspace.slug}/{agent.slug}": agent
            for agent in agents.select_related("published", "workspace")[:MOST_AGENTS]
        }
        self.workspaces = list(Workspace.objects.for_user(user, Right.RUN))
        choices = [
            (key, f"{agent.name} ({key}), version {agent.published.number}")
            for key, agent in self.agents.items()
            if agent.published
        ]
        agent_field, workspace_field = self.fields["agent"], self.fields["workspace"]
        assert isinstance(agent_field, forms.ChoiceField) and isinstance(workspace_field, forms.ModelChoiceField)
        agent_field.choices = [*choices, (OWN, "None: the document below")]
        workspace_field.queryset = Workspace.objects.for_user(user, Right.RUN)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("agent") == OWN and not self.errors:
            try:
                cleaned["parsed"] = load_json(cleaned["document"])
            except ConfigError as error:
                self.add_error("document", str(error))
            cleaned["workspace"] = cleaned["workspace"] or self.workspaces[0]
        return cleaned

    def refuse(self, error: TransportAway | Refused) -> None:
        for detail in getattr(error, "detail", ())[:20]:
            path = detail.path.removeprefix("config").lstrip(".")
            self.add_error("document" if self.cleaned_data["agent"] == OWN else None, f"{path}: {detail.message}")
        if not self.errors:
            self.add_error(None, str(error))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    posted = request.POST if request.method == "POST" else None
    form = StartForm(user, posted, chosen=request.GET.get("agent", ""))
    if not form.workspaces:
        raise PermissionDenied
    if request.method == "POST" and form.is_valid():
        try:
            opened = _start(form, user)
        except (TransportAway, Refused) as error:
            form.refuse(error)
        else:
            invitations.keep(request.session, opened.session, _invitation(request, form, opened))
            return redirect("sessions:invitation", opened.session)
    return render(request, "sessions_app/new.html", {"form": form})


@login_required
@never_cache
@require_GET
def invitation(request: HttpRequest, session_id: str) -> HttpResponse:
    """What opens the room, for whoever has just started it. A second look finds nothing to open it with."""
    found = invitations.take(request.session, session_id)
    if found:
        _wait_for_row(session_id)
    else:
        session_to_run(request, session_id)
    return render(request, "sessions_app/invitation.html", {"session_id": session_id, "invitation": found})


def _start(form: StartForm, user: User) -> Opened:
    chosen = form.cleaned_data
    who: dict[str, Any] = {"name": chosen["name"], "captions": chosen["captions"], "caller": user.get_username()}
    if agent := form.agents.get(chosen["agent"]):
        assert agent.published
        transport = carrier(version=agent.published)
        return start_session(workspace=agent.workspace, version=agent.published, transport=transport, **who)
    return start_session(workspace=chosen["workspace"], document=chosen["parsed"], **who)


def _wait_for_row(session: str) -> None:
    """The link to its page leads nowhere before the bridge has written it; that takes a fraction of a second."""
    deadline = time.monotonic() + ROW_WITHIN
    while not Session.objects.filter(pk=session).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _invitation(request: HttpRequest, form: StartForm, opened: Opened) -> Invitation:
    agent = form.agents.get(form.cleaned_data["agent"])
    return Invitation.make(
        room=opened.room_url or socket_origin(request) + opened.path,
        is_meeting=bool(opened.room_url),
        token=opened.token,
        expires_in=opened.expires_in,
        call=reverse("calls:page", args=[agent.workspace.slug, agent.slug]) if agent else "",
        notices=opened.notices,
    )
