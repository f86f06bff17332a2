"""Whatever the admin has: staff of one workspace, with every permission, in front of the rows of another.

The models come from the admin itself, so one that is new there fails a test until it has a row here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import models
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts_app.actions import create_api_key
from accounts_app.models import User, Workspace
from connectors_app.models import Credential
from pipelines_app.actions import import_agent
from pipelines_app.models import Pipeline
from sessions_app.models import BridgeCursor, Incident, Session, TranscriptEntry, Turn, Usage
from tests.world import make_document, signed_in

Model = type[models.Model]
Rows = dict[Model, models.Model]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INSTALLATION: set[Model] = {BridgeCursor}
"""Only superusers see these at all."""
OWNED = sorted(set(admin.site._registry) - INSTALLATION, key=lambda model: model._meta.label)
REFUSED = {302, 403, 404, 405}

owned = pytest.mark.parametrize("model", OWNED)


@pytest.fixture
def staff(stranger: User) -> Client:
    """The owner of the workspace `boats`."""
    stranger.is_staff = True
    stranger.save()
    stranger.user_permissions.set(Permission.objects.all())
    return signed_in(stranger)


@pytest.fixture
def rows(workspace: Workspace, owner: User) -> Rows:
    """One row of every owned model, in the workspace `bicycles`."""
    agent = import_agent(workspace=workspace, slug="shop", document=make_document(), publish=True)
    session = Session.objects.create(
        id="s1", workspace=workspace, transport="websocket", created_at=NOW, agent_version=agent.versions.get()
    )
    of_session: dict[str, Any] = {"workspace": workspace, "session": session}
    event: dict[str, Any] = {**of_session, "event_id": "e", "at": NOW}
    made = (
        *(workspace, owner, owner.memberships.get(), create_api_key(workspace=workspace, name="CRM")[0]),
        *(agent, agent.versions.get(), session),
        Credential.objects.create(workspace=workspace, provider="openai", name="Billing"),
        Pipeline.objects.create(workspace=workspace, slug="voice", name="Voice"),
        Turn.objects.create(**of_session, number=1, started_at=NOW),
        TranscriptEntry.objects.create(**event, sequence=1, speaker="caller", text="hi"),
        Usage.objects.create(**event, role="llm", provider="p", unit="tokens", quantity=1),
        Incident.objects.create(**event, kind="reply.failed", role="llm"),
    )
    return {type(row): row for row in made}


def admin_of(model: Model) -> Any:
    return admin.site.get_model_admin(model)


def list_of(model: Model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def pages_of(row: models.Model) -> Iterator[str]:
    """Every address of the model's admin that takes a row's id."""
    for pattern in admin_of(type(row)).get_urls():
        for name in ("object_id", "id"):
            if pattern.name and name in pattern.pattern.converters:
                yield reverse(f"admin:{pattern.name}", kwargs={name: row.pk})


def values_of(row: models.Model) -> dict[str, Any]:
    found: dict[str, Any] = type(row)._default_manager.filter(pk=row.pk).values().get()
    return found


def test_every_admin_has_a_row_here(rows: Rows) -> None:
    assert set(rows) == set(OWNED)


@owned
def test_a_superuser_lists_every_row(model: Model, operator: User, rows: Rows) -> None:
    assert rows[model] in signed_in(operator).get(list_of(model)).context["cl"].queryset


@owned
def test_a_stranger_lists_no_foreign_row(model: Model, staff: Client, rows: Rows) -> None:
    page = staff.get(list_of(model))
    assert page.status_code == 200
    assert rows[model] not in page.context["cl"].queryset
    assert "bicycles" not in page.content.decode().lower()


@owned
def test_a_stranger_finds_no_foreign_row(model: Model, staff: Client, rows: Rows) -> None:
    words = [value for value in values_of(rows[model]).values() if isinstance(value, str) and value]
    for word in words:
        page = staff.get(list_of(model), {"q": word})
        assert page.status_code == 200 and rows[model] not in page.context["cl"].queryset


@owned
def test_a_stranger_opens_no_foreign_row(model: Model, staff: Client, rows: Rows) -> None:
    before, pages = values_of(rows[model]), list(pages_of(rows[model]))
    assert len(pages) >= 3
    for page in pages:
        assert staff.get(page).status_code in REFUSED, page
        assert staff.post(page, {"post": "yes", "name": "mine"}).status_code in REFUSED, page
    assert values_of(rows[model]) == before


@owned
def test_a_stranger_acts_on_no_foreign_row(model: Model, staff: Client, rows: Rows, operator: User) -> None:
    before = values_of(rows[model])
    request = staff.get(list_of(model)).wsgi_request
    request.user = operator
    for action in admin_of(model).get_actions(request):
        form = {"action": action, "_selected_action": [rows[model].pk], "post": "yes"}
        staff.post(list_of(model), form)
        staff.post(list_of(model), form | {"select_across": "1"})
        assert values_of(rows[model]) == before, action


@owned
def test_a_stranger_is_suggested_no_foreign_row(model: Model, staff: Client, rows: Rows) -> None:
    names = [field.name for field in model._meta.get_fields() if isinstance(field, models.ForeignKey)]
    for name in names:
        asked = dict(zip(("app_label", "model_name"), model._meta.label_lower.split("."), strict=True)) | {
            "field_name": name
        }
        answer = staff.get(reverse("admin:autocomplete"), asked)
        found = [] if answer.status_code != 200 else [choice["id"] for choice in answer.json()["results"]]
        assert str(getattr(rows[model], f"{name}_id")) not in found


@owned
def test_a_stranger_chooses_no_foreign_row(model: Model, staff: Client, rows: Rows) -> None:
    """Forms for a new row offer nothing of another workspace."""
    try:
        page = staff.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"))
    except NoReverseMatch:
        return
    assert page.status_code in (200, 403)
    assert "bicycles" not in page.content.decode().lower()


@pytest.mark.parametrize("model", INSTALLATION)
def test_the_installation_is_for_superusers(model: Model, staff: Client, operator: User) -> None:
    assert staff.get(list_of(model)).status_code == 403
    assert signed_in(operator).get(list_of(model)).status_code == 200


def test_the_front_page_names_nothing_foreign(staff: Client, rows: Rows) -> None:
    page = staff.get(reverse("admin:index")).content.decode()
    assert "bicycles" not in page.lower() and "shop" not in page


@owned
def test_signed_out_people_are_sent_to_the_door(model: Model, client: Client, rows: Rows) -> None:
    for page in (list_of(model), *pages_of(rows[model])):
        assert client.get(page).status_code in (302, 405)
