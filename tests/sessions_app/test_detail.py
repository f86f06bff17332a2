"""The page of one session."""

from typing import Any

import pytest
from django.test import Client

from accounts_app.models import User
from mesh import events
from pipelines_app.models import AgentVersion
from sessions_app.models import Session
from tests.sessions_app.stories import Story, Write, created, tell_a_call
from tests.world import signed_in

URL = "/sessions/s1/"


@pytest.fixture(autouse=True)
def a_call(owner: User, story: Story, write: Write) -> None:
    write(tell_a_call(story))


def test_a_member_reads_the_transcript(owner: User) -> None:
    page = signed_in(owner).get(URL).content.decode()
    heard = [page.index(text) for text in ("Hello.", "A table for two.", "When?", "I have")]
    assert heard == sorted(heard)
    assert 'ws-connect="/live/sessions/s1/?shown=' in page and "hangup" in page


def test_the_heading_is_for_people(owner: User) -> None:
    page = signed_in(owner).get(URL).content.decode()
    assert "<h1 data-titles>Booking</h1>" in page and "<title>Booking · MeshAG</title>" in page


def test_without_a_name_agent_and_time_tell(owner: User, version: AgentVersion) -> None:
    Session.objects.update(name="", agent_version=version)
    page = signed_in(owner).get(URL).content.decode()
    assert f"<title>{version.agent.name}, 14:13 UTC · MeshAG</title>" in page
    assert f"<h1 data-titles>{version.agent.name}, <time" in page and "14:13 UTC</time></h1>" in page


def test_a_document_of_its_own_tells_too(owner: User) -> None:
    Session.objects.update(name="")
    assert "<title>Own document, 14:13 UTC · MeshAG</title>" in signed_in(owner).get(URL).content.decode()


def test_a_teammate_may_look_too(teammate: User) -> None:
    assert signed_in(teammate).get(URL).status_code == 200


def test_a_stranger_finds_nothing(stranger: User) -> None:
    assert signed_in(stranger).get(URL).status_code == 404


def test_signed_out_means_sign_in(client: Client) -> None:
    assert client.get(URL).headers["Location"] == f"/login?next={URL}"


def test_an_unknown_session_is_not_found(owner: User) -> None:
    assert signed_in(owner).get("/sessions/nothing/").status_code == 404


@pytest.mark.parametrize(("role", "who"), [("stt", "No recogniser"), ("llm", "No language model"), ("tts", "No voice")])
def test_an_apology_is_told_in_words(role: Any, who: str, owner: User, story: Story, write: Write) -> None:
    write(story.tell(events.Apologised(turn=1, generation=9, role=role)))
    page = signed_in(owner).get(URL).content.decode()
    assert f"<strong>{who}</strong> answered; the caller heard the apology" in page


def test_a_turn_that_failed_says_why(owner: User, story: Story, write: Write) -> None:
    write(story.tell(events.TurnStarted(turn=9), events.TurnDiscarded(turn=9, reason="nobody heard", failed="stt")))
    page = signed_in(owner).get(URL).content.decode()
    assert '<span class="badge failed">failed</span>' in page and "nobody heard" in page


def test_words_are_no_markup(owner: User, story: Story, write: Write) -> None:
    Session.objects.all().delete()
    write(story.tell(created(name="<script>alert(1)</script>")))
    assert "<script>alert" not in signed_in(owner).get(URL).content.decode()


def test_nothing_can_be_posted(owner: User) -> None:
    assert signed_in(owner).post(URL).status_code == 405
