"""What members do to a session that goes on: let the agent say something, end it, change its configuration."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from mesh.asking import MAX_SAY
from mesh.config.json_text import revision
from sessions_app import actions
from sessions_app.config_form import ConfigForm
from sessions_app.models import Session
from sessions_app.switchboard import Refused, TransportAway
from sessions_app.views import session_to_run


class SayForm(forms.Form):
    text = forms.CharField(max_length=MAX_SAY, error_messages={"required": "Write what the agent is to say."})


@login_required
@require_POST
def say(request: HttpRequest, session_id: str) -> HttpResponse:
    session = session_to_run(request, session_id)
    form = SayForm(request.POST)
    context: dict[str, Any] = {"session": session, "say": form}
    if form.is_valid():
        try:
            actions.say_in_session(session=session, text=form.cleaned_data["text"])
            context = {"session": session, "done": "The agent says it as soon as nobody else speaks."}
        except (TransportAway, Refused) as error:
            context["refused"] = str(error)
    return _answer(request, session, "sessions_app/_say.html", context)


@login_required
@require_POST
def end(request: HttpRequest, session_id: str) -> HttpResponse:
    session = session_to_run(request, session_id)
    try:
        actions.end_session(session=session)
        context = {"session": session, "done": "The session is ending."}
    except (TransportAway, Refused) as error:
        context = {"session": session, "refused": str(error)}
    return _answer(request, session, "sessions_app/_end.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def config(request: HttpRequest, session_id: str) -> HttpResponse:
    session = session_to_run(request, session_id)
    if session.is_over:
        return _config_page(request, session, status=409 if request.method == "POST" else 200)
    document = actions.current_config(session=session)
    form = ConfigForm(request.POST if request.method == "POST" else None, document=document)
    if form.is_outdated:
        return _config_page(request, session, ConfigForm(None, document=document), status=409, outdated=form.written())
    if request.method == "POST" and form.is_valid():
        try:
            actions.change_session_config(session=session, config=form.document)
        except (TransportAway, Refused) as error:
            form.refuse(error)
        else:
            messages.success(request, "The new configuration holds from the next turn on.")
            return redirect("sessions:detail", session.id)
    waits = bool(session.revision) and session.revision != revision(document)
    return _config_page(request, session, form, waits=waits)


def _config_page(
    request: HttpRequest, session: Session, form: ConfigForm | None = None, *, status: int = 200, **context: Any
) -> HttpResponse:
    """Without a form: what held at the end, to read."""
    context |= {"session": session, "form": form}
    if form is None:
        context["document"] = json.dumps(session.config, indent=2, ensure_ascii=False)
    return render(request, "sessions_app/config.html", context, status=status)


def _answer(request: HttpRequest, session: Session, template: str, context: dict[str, Any]) -> HttpResponse:
    """The piece that was changed, and the session's page for whoever has no script."""
    if request.headers.get("HX-Request"):
        return render(request, template, context)
    form = context.get("say")
    refused = context.get("refused") or (form.errors["text"][0] if form and form.errors else "")
    if refused:
        messages.error(request, refused)
    else:
        messages.success(request, context["done"])
    return redirect("sessions:detail", session.id)
