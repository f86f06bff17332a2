"""What surrounds every page: static files, the content policy, signing in and out."""

import pytest
from channels.testing import WebsocketCommunicator
from django.test import AsyncClient, Client
from pytest_django import Settings

from accounts_app.models import User
from meshag_site.asgi import application
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


@pytest.mark.parametrize("path", ["/nowhere", "/sessions/nothing/", "/sessions/nothing/more"])
def test_what_is_not_there_has_a_page(owner: User, path: str) -> None:
    response = signed_in(owner).get(path)
    page = response.content.decode()
    assert response.status_code == 404
    assert "<h1>Not found</h1>" in page and "Sign out" in page


@pytest.mark.parametrize("path", ["/api/docs/", "/api/redoc/"])
def test_the_apis_pages_lead_back(operator: User, path: str) -> None:
    page = signed_in(operator).get(path)
    assert b'href="/"' in page.content and b'href="/admin/"' in page.content
    assert "script-src 'self';" in page["Content-Security-Policy"]
    assert b'href="/admin/"' not in Client().get(path).content


def test_what_is_not_allowed_has_a_page(teammate: User) -> None:
    teammate.is_staff = True
    teammate.save()
    response = signed_in(teammate).get("/admin/accounts_app/apikey/")
    assert (response.status_code, b"<h1>Not allowed</h1>" in response.content) == (403, True)


def test_a_form_without_its_token_has_a_page(owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    response = client.post("/logout")
    assert (response.status_code, b"<h1>Not sent</h1>" in response.content) == (403, True)


def test_our_own_failure_has_a_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("django.contrib.auth.views.LoginView.get", fail)
    client.raise_request_exception = False
    response = client.get("/login")
    assert (response.status_code, b"<h1>Something broke</h1>" in response.content) == (500, True)


def test_browsers_that_guess_find_the_icon(client: Client) -> None:
    assert client.get("/favicon.ico")["Location"] == "/static/icon.svg"


def test_an_address_in_vain_is_no_warning(client: Client, db: None, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/nowhere")
    assert not caplog.records


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


def test_a_visitor_is_asked_to_sign_in(client: Client, db: None) -> None:
    response = client.get("/", follow=True)
    assert response.request["PATH_INFO"] == "/login"


@pytest.mark.parametrize("username", ["owner", "operator"])
def test_only_staff_is_shown_the_admin(owner: User, operator: User, username: str) -> None:
    person = {"owner": owner, "operator": operator}[username]
    page = signed_in(person).get("/sessions/").content.decode()
    assert ('href="/admin/"' in page) is person.is_staff


def test_other_host_names_are_refused(client: Client) -> None:
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("origin", [b"http://evil.example", b"http://localhost.evil.example", b"null"])
async def test_sockets_refuse_foreign_origins(origin: bytes, settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    headers = [(b"origin", origin), (b"host", b"localhost")]
    socket = WebsocketCommunicator(application, "/live/sessions/anything/", headers=headers)
    connected, _ = await socket.connect()
    assert not connected
