"""What members do to a session: say, end, configure. And starting one."""

import json
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from pytest_django import Settings
from redis import Redis

from accounts_app.models import User
from mesh.asking import Detail, Opened
from mesh.config.json_text import revision
from mesh.config.reading import parse
from mesh.store import ConfigStorage, Valkey
from pipelines_app.models import AgentVersion
from sessions_app import starting, switchboard
from sessions_app.config_form import ConfigForm
from sessions_app.models import Session
from sessions_app.switchboard import Refused, TransportAway
from tests.world import make_document, signed_in

DOCUMENT = make_document()
POSTS = ["say", "end", "config"]
HTMX = {"HX-Request": "true"}


class Transport:
    """Stands where the line to the transports begins; `answer` is what it raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: Exception | None = None
        self.opened = Opened(session="s9", path="/websocket/s9", token="t0ken", expires_in=60)

    def stand_in(self, verb: str, result: Any) -> Any:
        async def ask(**question: Any) -> Any:
            self.asked.append((verb, question))
            if self.answer:
                raise self.answer
            return self.opened if verb == "open_session" else result

        return ask


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Transport:
    transport = Transport()
    monkeypatch.setattr(starting, "ROW_WITHIN", 0.0)  # nobody writes rows here
    for verb, result in {"say": None, "end": None, "change_config": "r2", "open_session": None}.items():
        monkeypatch.setattr(switchboard, verb, transport.stand_in(verb, result))
    return transport


@pytest.fixture
def live(session: Session, valkey_url: str, settings: Settings) -> Session:
    settings.VALKEY_URL = valkey_url
    with Redis.from_url(valkey_url) as valkey:
        valkey.delete("config:s1")  # of other tests
    session.config, session.revision = DOCUMENT, revision(DOCUMENT)
    session.save()
    return session


def document_form(made_from: dict[str, Any] = DOCUMENT, /, **changes: Any) -> dict[str, Any]:
    """The page's form as it comes, with changes."""
    form = ConfigForm(None, document=made_from)
    return {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()} | changes


def test_the_agent_says_what_is_written(live: Session, owner: User, transport: Transport) -> None:
    answer = signed_in(owner).post("/sessions/s1/say/", {"text": "One moment."}, headers=HTMX)
    assert 'id="say"' in answer.content.decode() and "<html" not in answer.content.decode()
    assert transport.asked == [("say", {"workspace": "bicycles", "session": "s1", "text": "One moment."})]


def test_without_script_one_comes_back(live: Session, owner: User, transport: Transport) -> None:
    answer = signed_in(owner).post("/sessions/s1/say/", {"text": "Hi."}, follow=True)
    assert answer.redirect_chain == [("/sessions/s1/", 302)] and "says it as soon as" in answer.content.decode()


@pytest.mark.parametrize("text", ["", "   ", "x" * 4001])
def test_nothing_and_too_much_are_not_said(text: str, live: Session, owner: User, transport: Transport) -> None:
    answer = signed_in(owner).post("/sessions/s1/say/", {"text": text}, headers=HTMX)
    assert 'role="alert"' in answer.content.decode() and not transport.asked


@pytest.mark.parametrize("verb", ["say", "end"])
def test_a_refusal_stands_beside_the_control(verb: str, live: Session, owner: User, transport: Transport) -> None:
    transport.answer = TransportAway("No transport answers; is it running?")
    answer = signed_in(owner).post(f"/sessions/s1/{verb}/", {"text": "Hi."}, headers=HTMX).content.decode()
    assert f'id="{verb}"' in answer and "No transport answers" in answer


def test_a_session_is_ended(live: Session, owner: User, transport: Transport) -> None:
    assert "is ending" in signed_in(owner).post("/sessions/s1/end/", headers=HTMX).content.decode()
    assert transport.asked[0][0] == "end"


def test_a_changed_prompt_goes_into_the_document(live: Session, owner: User, transport: Transport) -> None:
    answer = signed_in(owner).post("/sessions/s1/config/", document_form(system_prompt="Be brief."))
    assert answer.headers["Location"] == "/sessions/s1/"
    assert transport.asked[0][1]["config"] == DOCUMENT | {"system_prompt": "Be brief."}


def test_a_changed_number_goes_into_its_part(live: Session, owner: User, transport: Transport) -> None:
    signed_in(owner).post("/sessions/s1/config/", document_form(**{"turn.stop_ms": 300}))
    assert transport.asked[0][1]["config"]["turn"] == {"stop_ms": 300}


def test_the_whole_document_can_be_written(live: Session, owner: User, transport: Transport) -> None:
    written = DOCUMENT | {"greeting": "Good day."}
    signed_in(owner).post("/sessions/s1/config/", document_form(document=json.dumps(written)))
    assert transport.asked[0][1]["config"] == written


def change_meanwhile(valkey_url: str, **changes: Any) -> dict[str, Any]:
    """As a transport stores it until the session's next turn."""

    async def store() -> None:
        valkey = Valkey(valkey_url)
        await ConfigStorage(valkey).store_config("s1", parse(DOCUMENT | changes), 60)
        await valkey.close()

    async_to_sync(store)()
    return DOCUMENT | changes


def test_a_change_that_waits_is_shown(live: Session, owner: User, valkey_url: str) -> None:
    change_meanwhile(valkey_url, greeting="Good evening.")
    page = signed_in(owner).get("/sessions/s1/config/").content.decode()
    assert "Good evening." in page and "A change waits" in page


def test_an_older_form_undoes_no_change(live: Session, owner: User, transport: Transport, valkey_url: str) -> None:
    opened = document_form(system_prompt="Be brief.")
    change_meanwhile(valkey_url, greeting="Good evening.")
    answer = signed_in(owner).post("/sessions/s1/config/", opened)
    page = answer.content.decode()
    assert answer.status_code == 409 and not transport.asked
    assert "Good evening." in page and "Be brief." in page and "Somebody else changed" in page


def test_a_second_change_keeps_the_first(live: Session, owner: User, transport: Transport, valkey_url: str) -> None:
    document = change_meanwhile(valkey_url, greeting="Good evening.")
    signed_in(owner).post("/sessions/s1/config/", document_form(document, system_prompt="Be brief."))
    assert transport.asked[0][1]["config"] == document | {"system_prompt": "Be brief."}


def test_an_ended_sessions_document_is_read(live: Session, owner: User, transport: Transport) -> None:
    live.end(at=live.created_at, reason="hangup", detail="", failed=False, media_ms=0)
    live.save()
    page = signed_in(owner).get("/sessions/s1/config/").content.decode()
    assert "bicycle shop" in page and "<textarea" not in page
    assert signed_in(owner).post("/sessions/s1/config/", document_form()).status_code == 409
    assert not transport.asked


def test_numbers_have_names_and_ranges(live: Session, owner: User) -> None:
    page = signed_in(owner).get("/sessions/s1/config/").content.decode()
    assert "Pause that ends an utterance (ms)" in page and 'min="100" max="3000" step="1"' in page


@pytest.mark.parametrize(("threshold", "step"), [(0.5, "0.01"), (0.333, "any")])
def test_a_share_is_changed_in_hundredths(threshold: float, step: str) -> None:
    form = ConfigForm(None, document=DOCUMENT | {"turn": {"threshold": threshold}})
    assert f'step="{step}"' in str(form["turn.threshold"])


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "document"),
        ("[]", "object"),
        (json.dumps({**DOCUMENT, "turn": {"stop_ms": 5}}), "stop_ms"),
        (json.dumps({**DOCUMENT, "pipeline": {"name": "x"}}), "pipeline.flow"),
    ],
)
def test_what_is_wrong_is_named(document: str, told: str, live: Session, owner: User, transport: Transport) -> None:
    answer = signed_in(owner).post("/sessions/s1/config/", document_form(document=document)).content.decode()
    assert 'role="alert"' in answer and told in answer and not transport.asked


def test_the_transports_refusal_names_the_path(live: Session, owner: User, transport: Transport) -> None:
    transport.answer = Refused(422, "no", [Detail("connectors.llm.primary", "unknown connector")])
    answer = signed_in(owner).post("/sessions/s1/config/", document_form()).content.decode()
    assert "connectors.llm.primary: unknown connector" in answer


@pytest.mark.parametrize("verb", POSTS)
def test_a_viewer_may_only_look(verb: str, live: Session, teammate: User, transport: Transport) -> None:
    assert signed_in(teammate).post(f"/sessions/s1/{verb}/", {"text": "Hi."}).status_code == 403
    assert "<button>Say" not in signed_in(teammate).get("/sessions/s1/").content.decode()
    assert not transport.asked


@pytest.mark.parametrize("verb", POSTS)
def test_a_stranger_finds_nothing(verb: str, live: Session, stranger: User, transport: Transport) -> None:
    assert signed_in(stranger).post(f"/sessions/s1/{verb}/", {"text": "Hi."}).status_code == 404
    assert not transport.asked


@pytest.mark.parametrize("verb", POSTS)
def test_signed_out_means_sign_in(verb: str, live: Session, client: Client, transport: Transport) -> None:
    assert client.post(f"/sessions/s1/{verb}/", {"text": "Hi."}).headers["Location"].startswith("/login")
    assert not transport.asked


def test_a_session_is_started_of_an_agent(version: AgentVersion, owner: User, transport: Transport) -> None:
    form = {"agent": "bicycles/shop", "name": "Trial", "captions": "on"}
    answer = signed_in(owner).post("/sessions/new/", form, follow=True)
    page = answer.content.decode()
    assert answer.redirect_chain == [("/sessions/s9/invitation/", 302)]
    assert "t0ken" in page and "/websocket/s9" in page and 'href="/sessions/s9/"' in page
    assert (transport.asked[0][1]["agent"], transport.asked[0][1]["name"]) == ("shop", "Trial")


def test_a_session_is_started_of_a_document(owner: User, transport: Transport) -> None:
    form = {"agent": "own", "workspace": "bicycles", "document": json.dumps(DOCUMENT)}
    assert "t0ken" in signed_in(owner).post("/sessions/new/", form, follow=True).content.decode()
    assert transport.asked[0][1]["config"] == DOCUMENT


def test_an_invitation_is_shown_once(
    version: AgentVersion, session: Session, owner: User, transport: Transport
) -> None:
    Session.objects.filter(pk=session.pk).update(id="s9")
    client = signed_in(owner)
    shown = client.post("/sessions/new/", {"agent": "bicycles/shop"}, follow=True)
    again = client.get("/sessions/s9/invitation/")
    assert "t0ken" in shown.content.decode() and "no-store" in shown.headers["Cache-Control"]
    assert "t0ken" not in again.content.decode() and "shown already" in again.content.decode()
    assert len(transport.asked) == 1


def test_invitations_wait_side_by_side(version: AgentVersion, owner: User, transport: Transport) -> None:
    client = signed_in(owner)
    for session in ("s8", "s9"):
        transport.opened = msgspec.structs.replace(transport.opened, session=session, token=f"token-{session}")
        client.post("/sessions/new/", {"agent": "bicycles/shop"})
    for session in ("s8", "s9"):
        assert f"token-{session}" in client.get(f"/sessions/{session}/invitation/").content.decode()


def test_an_invitation_is_its_starters(
    version: AgentVersion, owner: User, stranger: User, transport: Transport
) -> None:
    signed_in(owner).post("/sessions/new/", {"agent": "bicycles/shop"})
    assert signed_in(stranger).get("/sessions/s9/invitation/").status_code == 404
    assert Client().get("/sessions/s9/invitation/").headers["Location"].startswith("/login")


@pytest.mark.parametrize("form", [{}, {"agent": "boats/other"}, {"agent": "own", "document": "{"}])
def test_a_strange_form_starts_nothing(form: dict[str, str], owner: User, transport: Transport) -> None:
    assert 'role="alert"' in signed_in(owner).post("/sessions/new/", form).content.decode()
    assert not transport.asked


def test_a_refused_start_is_told(version: AgentVersion, owner: User, transport: Transport) -> None:
    transport.answer = TransportAway("No transport answers; is it running?")
    page = signed_in(owner).post("/sessions/new/", {"agent": "bicycles/shop"}).content.decode()
    assert "No transport answers" in page


def test_another_workspaces_agent_is_not_offered(version: AgentVersion, stranger: User, transport: Transport) -> None:
    client = signed_in(stranger)
    assert "bicycles" not in client.get("/sessions/new/").content.decode()
    client.post("/sessions/new/", {"agent": "bicycles/shop"})
    assert not transport.asked


def test_a_viewer_starts_nothing(version: AgentVersion, teammate: User) -> None:
    assert signed_in(teammate).get("/sessions/new/").status_code == 403


def test_signed_out_starts_nothing(client: Client, db: None) -> None:
    assert client.get("/sessions/new/").headers["Location"].startswith("/login")
