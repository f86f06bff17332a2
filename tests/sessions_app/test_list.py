"""The list of sessions."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import User, Workspace
from pipelines_app.models import AgentVersion
from sessions_app.models import Session
from tests.world import signed_in

URL = "/sessions/"


def make_sessions(workspace: Workspace, count: int, **values: object) -> None:
    now = timezone.now()
    Session.objects.bulk_create(
        Session(
            id=f"{workspace.slug}-{number}",
            workspace=workspace,
            transport="websocket",
            created_at=now - timedelta(minutes=number),
            **values,
        )
        for number in range(count)
    )


def test_members_see_their_sessions_only(owner: User, workspace: Workspace, other_workspace: Workspace) -> None:
    make_sessions(workspace, 1)
    make_sessions(other_workspace, 1)
    page = signed_in(owner).get(URL).content.decode()
    assert "bicycles-0" in page and "boats-0" not in page


def test_the_latest_come_first(owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 60)
    page = signed_in(owner).get(URL).content.decode()
    assert page.index("bicycles-0") < page.index("bicycles-49")
    assert "bicycles-50" not in page


def test_signed_out_means_sign_in(client: Client, db: None) -> None:
    assert client.get(URL).headers["Location"] == f"/login?next={URL}"


@pytest.mark.parametrize("count", [1, 20])
def test_queries_do_not_grow(
    count: int,
    owner: User,
    workspace: Workspace,
    version: AgentVersion,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_sessions(workspace, count, agent_version=version)
    client = signed_in(owner)
    with django_assert_num_queries(3):  # the login's two, and the sessions
        client.get(URL)
