"""What surrounds every page: static files, the content policy, signing in and out."""

import pytest
from django.test import AsyncClient, Client

from accounts_app.models import User
from tests.world import signed_in


async def test_static_files_need_no_build() -> None:
    response = await AsyncClient().get("/static/css/base.css")
    assert (response.status_code, response["Content-Type"]) == (200, 'text/css; charset="utf-8"')
    assert b"--accent" in response.content


async def test_static_files_answer_ranges_and_heads() -> None:
    part = await AsyncClient().get("/static/css/base.css", headers={"range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    head = await AsyncClient().head("/static/css/base.css")
    assert (head.status_code, head.content) == (200, b"")


async def test_unchanged_static_files_are_not_sent() -> None:
    first = await AsyncClient().get("/static/css/base.css")
    second = await AsyncClient().get("/static/css/base.css", headers={"if-none-match": first["ETag"]})
    assert (second.status_code, second.content) == (304, b"")


async def test_static_files_stay_in_their_folder() -> None:
    assert (await AsyncClient().get("/static/../manage.py")).status_code == 404


@pytest.mark.parametrize("path", ["/login", "/health", "/static/css/base.css", "/nowhere"])
def test_every_answer_has_a_content_policy(client: Client, db: None, path: str) -> None:
    policy = client.get(path)["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_right_password_signs_in(client: Client, owner: User) -> None:
    owner.set_password("right password")
    owner.save()
    response = client.post("/login", {"username": "owner", "password": "right password", "next": "/admin/"})
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert client.session["_auth_user_id"] == str(owner.pk)


def test_a_wrong_password_is_told(client: Client, owner: User) -> None:
    response = client.post("/login", {"username": "owner", "password": "wrong"})
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()
    assert "_auth_user_id" not in client.session


def test_signing_in_leads_nowhere_else(client: Client, owner: User) -> None:
    owner.set_password("right password")
    owner.save()
    form = {"username": "owner", "password": "right password", "next": "https://evil.example/"}
    assert client.post("/login", form)["Location"] == "/"


def test_signing_out_is_a_post(owner: User) -> None:
    client = signed_in(owner)
    assert client.get("/logout").status_code == 405
    assert client.post("/logout")["Location"] == "/login"
    assert "_auth_user_id" not in client.session
