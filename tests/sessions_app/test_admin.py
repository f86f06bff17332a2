"""Sessions in the admin: there to be read, not to be changed."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models

from accounts_app.models import User, Workspace
from tests.sessions_app.stories import Story, Write, tell_a_call
from tests.world import signed_in

PAGES = ["session", "turn", "transcriptentry", "usage", "incident", "bridgecursor"]


@pytest.mark.parametrize("model", [*apps.get_app_config("sessions_app").get_models()])
def test_every_model_is_registered(model: type[models.Model]) -> None:
    assert admin.site.is_registered(model)


@pytest.mark.parametrize("page", PAGES)
def test_an_operator_opens_every_list(
    page: str, operator: User, workspace: Workspace, story: Story, write: Write
) -> None:
    write(tell_a_call(story))
    assert signed_in(operator).get(f"/admin/sessions_app/{page}/").status_code == 200


def test_a_session_shows_its_transcript(operator: User, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    page = signed_in(operator).get("/admin/sessions_app/session/s1/change/").content.decode()
    assert "A table for two." in page and 'name="_save"' not in page


@pytest.mark.parametrize("verb", ["change", "delete"])
def test_nobody_changes_a_session(verb: str, operator: User, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    answer = signed_in(operator).post(f"/admin/sessions_app/session/s1/{verb}/", {"state": "live"})
    assert answer.status_code == 403
