"""Every page of a running site by its URLconf, and rows so that none of them is empty.

`manage.py shell -c "from tests.browser.addresses import tell; tell()"`, in the site's own environment.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.contrib import admin
from django.db.models import Model
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts_app.models import APIKey, User, Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from pipelines_app.models import Agent
from sessions_app.models import Incident, Session, Speaker, State, TranscriptEntry, Turn, TurnState, Usage

SESSION = "a-session-to-look-at"
TURNS = (
    (
        "speech",
        "I would like to book an appointment.",
        {"transcript": 310, "turn_end": 312, "first_token": 420, "first_audio": 600, "first_sample": 605},
    ),
    ("typed", "On Monday, please.", {"turn_end": 2, "first_token": 130, "first_audio": 330, "first_sample": 334}),
    ("typed", "At nine.", {"turn_end": 3}),
)
NO_PAGES = frozenset(
    [
        *("home-now", "logout", "start", "presence", "say", "end", "health", "ready", "metrics", "targets"),
        *("autocomplete", "search", "jsi18n", "view_on_site", "password_change_done"),
        *("pipelines_app_agent_export", "pipelines_app_agent_publish", "pipelines_app_agent_publish-again"),
        *("pipelines_app_agent_restore", "pipelines_app_agent_withdraw"),
        *("connectors_app_credential_environment_test", "connectors_app_credential_new_test"),
        *("connectors_app_credential_changed_test", "connectors_app_credential_test"),
    ]
)
"""Pieces of pages, forms' targets, downloads, and what only programs read."""
ELSEWHERE = re.compile(r"^(api/v1/|admin/log(in|out)/|call/$|favicon)|/page/$")
"""Programs', and what leads to another page at once."""
ALIKE = ("history", "delete")
"""Django's own: the same for each model, so one model's stand for all."""
EXAMPLE_MODEL = "pipelines_app_pipeline"


def tell() -> None:
    fill()
    sys.stdout.write(json.dumps(sorted(set(pages()))))


def pages() -> Iterator[str]:
    for route, name in _patterns(get_resolver().url_patterns):
        if name not in NO_PAGES and not ELSEWHERE.search(route):
            yield from _filled(route, name)


def _patterns(patterns: Sequence[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        elif pattern.name:  # without one it only leads elsewhere
            yield route, pattern.name


def _filled(route: str, name: str) -> Iterator[str]:
    """The addresses of a route, with what its places stand for. Raises KeyError for a place that nobody knows."""
    if name == "app_list":
        yield from (f"/admin/{label}/" for label in sorted({model._meta.app_label for model in _registered()}))
        return
    values = {"workspace": "default", "slug": "demo", "session_id": SESSION, "id": "1"}
    for model in _registered():
        if route.startswith(f"admin/{model._meta.app_label}/{model._meta.model_name}/"):
            if not _is_shown(model, name):
                return
            if any_row := model._default_manager.order_by("pk").last():
                values["object_id"] = str(any_row.pk)
    yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda place: values[place[1]], route)


def _registered() -> list[type[Model]]:
    return list(admin.site._registry)


def _is_shown(model: type[Model], name: str) -> bool:
    label, verb = name.rsplit("_", 1)
    if verb in ALIKE and label != EXAMPLE_MODEL:
        return False
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(username="admin")
    return verb != "add" or admin.site._registry[model].has_add_permission(request)


def fill() -> None:
    """A call with a spoken, a typed and a failed turn, a key and a credential."""
    workspace = Workspace.objects.get(slug="default")
    if Session.objects.filter(id=SESSION).exists():
        return
    of = {"workspace": workspace, "session": _call(workspace)}
    at = timezone.now()
    for number, (cause, text, marks) in enumerate(TURNS, start=1):
        state = TurnState.ANSWERED if "first_sample" in marks else TurnState.FAILED
        Turn.objects.create(number=number, state=state, cause=cause, text=text, started_at=at, waterfall=marks, **of)
        entry = {"event_id": f"{SESSION}:{number}", "sequence": number, "turn": number, "at": at, "text": text}
        TranscriptEntry.objects.create(speaker=Speaker.CALLER, **entry, **of)
    asked = {"role": "llm", "provider": "openai", "turn": 3, "at": at, **of}
    Usage.objects.create(event_id=f"{SESSION}:u", model="gpt-4o", unit="output_tokens", quantity=12, **asked)
    failed = {"kind": Incident.Kind.PROVIDER_FAILED, "error": "timeout", "detail": "no first token in 1500 ms"}
    Incident.objects.create(event_id=f"{SESSION}:i", ms=1500, **failed, **asked)
    APIKey.objects.create(workspace=workspace, name="Booking system", prefix="mag_abcd", secret_hash=SESSION)
    keep_credential(credential=Credential(workspace=workspace, provider="deepgram", name="Main"), key="a-key")


def _call(workspace: Workspace) -> Session:
    ended = timezone.now()
    began = ended - timedelta(seconds=61)
    version = Agent.objects.get(workspace=workspace, slug="demo").versions.first()
    made_of = {"agent_version": version, "config": version.config if version else {}, "rate": 24_000}
    over = {"state": State.ENDED, "reason": "hangup", "ended_at": ended, "media_ms": 61_000, "turn": len(TURNS)}
    times = {"created_at": began, "live_at": began}
    named = {"id": SESSION, "name": "Trial call", "transport": "websocket"}
    return Session.objects.create(workspace=workspace, **named, **made_of, **times, **over)
