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


def test_older_ones_are_a_page_away(owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 60)
    client = signed_in(owner)
    first, second = (client.get(f"{URL}?page={page}").content.decode() for page in (1, 2))
    assert 'href="?page=2"' in first and "Newer" not in first
    assert "bicycles-50" in second and "bicycles-49" not in second
    assert 'href="?" rel="prev"' in second and "Older" not in second


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "²", "9" * 40])
def test_a_strange_page_is_no_failure(page: str, owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 1)
    assert signed_in(owner).get(URL, {"page": page}).status_code == 200


def test_the_caller_is_a_caller(owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 1, caller="+4930123456")
    assert '<td data-label="Caller">+4930123456</td>' in signed_in(owner).get(URL).content.decode()
    Session.objects.update(caller="")
    assert '<td data-label="Caller">–</td>' in signed_in(owner).get(URL).content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=live", {"bicycles-0", "bicycles-1"}),
        ("q=bicycles-1", {"bicycles-1"}),
        ("q=4930", {"bicycles-0", "bicycles-1"}),
        ("q=%00", {"bicycles-0", "bicycles-1"}),
        ("agent=shop", {"bicycles-0", "bicycles-1"}),
        ("agent=nobody", set()),
        ("state=live&q=nothing", set()),
    ],
)
def test_the_list_can_be_narrowed(query: str, found: set[str], owner: User, version: AgentVersion) -> None:
    make_sessions(version.agent.workspace, 2, caller="+4930123456", agent_version=version, state="live")
    page = signed_in(owner).get(f"{URL}?{query}")
    assert {session.id for session in page.context["sessions"]} == found


def test_who_waits_is_not_live(owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 1)
    assert not signed_in(owner).get(f"{URL}?state=live").context["sessions"]


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
    with django_assert_num_queries(4):  # the login's two, the sessions, and the agents to choose from
        client.get(URL)
