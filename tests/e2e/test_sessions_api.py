"""The documented session API on the whole system: what it answers, and what becomes of the calls behind it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from redis.asyncio import Redis

from mesh.bus.client import Bus
from mesh.events import SessionCreated, SessionEnded, SessionUpdated, TurnEnded
from mesh.subjects import Stage
from tests.callers import WebsocketCaller
from tests.e2e.conversations import ask, happened, web
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT
from tests.unsupervised import VOICE_LOOP, System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

CHAT = ("transport llm text", "llm transport text")
SHORT = "Yes that sounds perfect to me."
DOCUMENTED: dict[str, Any] = {
    "config": {
        "system_prompt": "You are a helpful AI assistant.",
        "pipeline": {
            "name": "voice_chat",
            "flow": [
                {"from": "transport", "to": "stt", "stream": "audio"},
                {"from": "stt", "to": "llm", "stream": "text"},
                {"from": "llm", "to": "tts", "stream": "text"},
                {"from": "tts", "to": "transport", "stream": "audio"},
            ],
        },
        "connectors": {
            "stt": {
                "primary": "openai",
                "fallback": ["deepgram"],
                "config": {
                    "openai": {"model": "whisper-1", "language": "auto", "response_format": "json", "temperature": 0}
                },
            },
            "llm": {
                "primary": "openai",
                "fallback": ["anthropic"],
                "config": {"openai": {"model": "gpt-4o", "temperature": 0.7, "max_tokens": 1000}},
            },
            "tts": {
                "primary": "elevenlabs",
                "fallback": ["azure"],
                "config": {
                    "elevenlabs": {
                        "model": "eleven_multilingual_v2",
                        "voice": "Rachel",
                        "stability": 0.5,
                        "similarity_boost": 0.8,
                    }
                },
            },
            "transport": {"primary": "websocket", "config": {}},
        },
    },
    "session_name": "my-ai-session",
    "max_participants": 10,
    "enable_recording": True,
    "enable_transcription": True,
}
"""The body of the product's README, on a transport that needs no key."""


def typed() -> str:
    """A question that nobody has asked before."""
    return f"Question {uuid4().hex[:8]} please"


def chat(prompt: str = "Be brief.") -> dict[str, Any]:
    return document(flow=CHAT, system_prompt=prompt)


async def asked(system: System, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with system.client.request(method, f"{system.url}{path}", **options) as response:
        return response.status, await response.json()


async def session(system: System, made: str) -> dict[str, Any]:
    status, body = await asked(system, "GET", f"/sessions/{made}")
    assert status == 200, body
    return body


async def sessions(system: System, status: str) -> list[str]:
    _, body = await asked(system, "GET", "/sessions", params={"status": status})
    assert body["total"] == len(body["sessions"])
    return [one["session_id"] for one in body["sessions"]]


async def answered(system: System, caller: WebsocketCaller) -> dict[str, Any]:
    """Types a question, waits for the answer; the request that the model was sent."""
    question = typed()
    await caller.type(question)
    await caller.until("reply", text=reply_for(question).partition(". ")[0] + ".")
    requests = await system.standins.requests_to(OPENAI_CHAT)
    body: dict[str, Any] = next(one["body"] for one in requests if question in one["text"])
    return body


@asynccontextmanager
async def valkey(system: System) -> AsyncIterator["Redis"]:
    async with Redis.from_url(system.valkey.url, decode_responses=True) as client:
        yield client


# -- creating --------------------------------------------------------------------------------------------


@pytest.mark.accepts("M53", "M72", "M73", "M74", "M78", "M80", "M81")
async def test_the_documented_request_opens_a_call(system: System) -> None:
    status, made = await asked(system, "POST", "/sessions/with-config", json=DOCUMENTED)
    assert (status, list(made)) == (200, ["session_id", "room_url", "token", "config_stored"])
    assert made["config_stored"] is True and made["room_url"].endswith(made["session_id"])
    async with WebsocketCaller(system.client, made["room_url"], made["token"]) as caller:
        await ask(caller, SHORT)
    shown = await session(system, made["session_id"])
    assert (shown["session_name"], shown["max_participants"]) == ("my-ai-session", 10)


async def test_an_agent_has_a_session_by_its_name(system: System) -> None:
    status, made = await asked(system, "POST", "/sessions", json={"agent": "desk"})
    assert (status, made["provider_metadata"]) == (
        200,
        {"provider": "websocket", "agent": "desk", "agent_version": 1},
    )
    async with WebsocketCaller(system.client, made["room_url"], made["meeting_token"]) as caller:
        await caller.until("welcome", session=made["session_id"])


async def test_a_token_opens_one_call(system: System) -> None:
    made = await system.create(chat())
    async with WebsocketCaller(system.client, made["room_url"], made["token"]) as caller:
        await caller.until("welcome")
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            async with WebsocketCaller(system.client, made["room_url"], made["token"]):
                pass


@pytest.mark.accepts("M52")
async def test_a_wrong_document_leaves_nothing_behind(system: System, bus: Bus) -> None:
    async with valkey(system) as client:
        before = await client.dbsize()
        last = await newest(bus)
        wrong = document()
        wrong["pipeline"]["flow"][1]["to"] = "brain"
        status, body = await asked(system, "POST", "/sessions/with-config", json={"config": wrong})
        assert (status, body["detail"][0]["path"]) == (422, "config.pipeline.flow[1].to")
        assert await client.dbsize() <= before  # what other tests have left there expires
        assert not [stored for stored in await bus.read(after=last) if isinstance(stored.event, SessionCreated)]


async def newest(bus: Bus) -> int:
    """The sequence of the last event, however many there are."""
    last = 0
    while batch := await bus.read(after=last):
        last = batch[-1].sequence
    return last


@pytest.mark.accepts("M66", "M79", "M80", "M81")
async def test_a_session_of_daily_has_its_room(system: System) -> None:
    body = {**DOCUMENTED, "config": document(transport="daily")}
    status, answer = await asked(system, "POST", "/sessions/with-config", json=body)
    assert status == 200 and set(answer) == {"session_id", "room_url", "token", "config_stored"}
    assert answer["room_url"].endswith(f".daily.co/{answer['session_id']}") and answer["config_stored"] is True
    status, _ = await asked(system, "DELETE", f"/sessions/{answer['session_id']}")
    assert status in (200, 204)


# -- living and ending -----------------------------------------------------------------------------------


@pytest.mark.accepts("M38", "M74")
async def test_a_session_is_created_active_and_ended(system: System) -> None:
    made = await system.create(chat(), session_name="Ada's call")
    name = made["session_id"]
    assert name in await sessions(system, "created")
    async with WebsocketCaller(system.client, made["room_url"], made["token"]) as caller:
        await caller.until("welcome")
        assert name in await sessions(system, "ACTIVE") and name not in await sessions(system, "created")
        await caller._tell({"type": "bye"})
        await caller.until("ended", reason="hangup")
    assert name in await sessions(system, "ended")
    shown = await session(system, name)
    assert (shown["status"], shown["reason"], shown["session_name"]) == ("Ended", "hangup", "Ada's call")


async def test_a_deleted_session_ends_the_call(system: System, bus: Bus) -> None:
    async with await web(system) as caller:
        await caller.until("welcome")
        path = f"/sessions/{caller.session}"
        assert (await asked(system, "DELETE", path))[0] == 200
        await caller.until("ended", reason="ended")
        async with asyncio.timeout(5):
            await caller.is_over.wait()
        assert [end.reason for end in await happened(bus, caller.session, SessionEnded)] == ["ended"]
        assert (await session(system, caller.session))["status"] == "Ended"
        assert (await asked(system, "GET", f"{path}/config"))[0] == 404


async def test_a_session_is_deleted_twice_and_ends_once(system: System, bus: Bus) -> None:
    made = await system.create(chat())
    path = f"/sessions/{made['session_id']}"
    answers = [await asked(system, "DELETE", path) for _ in range(2)]
    ended = {"message": "Session ended successfully", "session_id": made["session_id"]}
    assert answers == [(200, ended), (200, ended)]
    assert len(await happened(bus, made["session_id"], SessionEnded)) == 1
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        async with WebsocketCaller(system.client, made["room_url"], made["token"]):
            pass


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_session_is_not_found(system: System, method: str) -> None:
    status, body = await asked(system, method, "/sessions/session_123")
    assert (status, body["error"]) == (404, "There is no such session.")


# -- a configuration that changes ------------------------------------------------------------------------


@pytest.mark.accepts("M39", "M42")
async def test_a_changed_configuration_holds_from_the_next_turn(system: System, bus: Bus) -> None:
    async with await web(system, chat("Be brief.")) as caller:
        before = await answered(system, caller)
        config = chat("Be long.")
        config["connectors"]["llm"]["config"]["openai"]["model"] = "gpt-4o-mini"
        status, stored = await asked(system, "PUT", f"/sessions/{caller.session}/config", json=config)
        assert status == 200 and stored["config_stored"]
        after = await answered(system, caller)
        turns = await happened(bus, caller.session, TurnEnded)
    assert [before["messages"][0]["content"], before["model"]] == ["Be brief.", "gpt-4o"]
    assert [after["messages"][0]["content"], after["model"]] == ["Be long.", "gpt-4o-mini"]
    assert turns[0].revision != turns[1].revision == stored["revision"]


@pytest.mark.accepts("M42")
async def test_a_change_holds_for_the_next_spoken_turn(system: System) -> None:
    async with await web(system, document(system_prompt="Be brief.")) as caller:
        await caller.until("welcome")
        path = f"/sessions/{caller.session}/config"
        await asked(system, "PUT", path, json=document(system_prompt="Speak of the sea."))
        await ask(caller, SHORT)
    last = (await system.standins.requests_to(OPENAI_CHAT))[-1]["body"]
    assert last["messages"][0] == {"role": "system", "content": "Speak of the sea."}


@pytest.mark.accepts("M41", "M42")
async def test_a_change_by_hand_in_valkey_holds_too(system: System) -> None:
    """Before the first turn, and between two."""
    made = await system.create(chat("First."))
    key = f"config:{made['session_id']}"
    async with valkey(system) as client:

        async def change(before: str, after: str) -> None:
            await client.set(key, str(await client.get(key)).replace(before, after), keepttl=True)

        await change("First.", "Second.")
        async with WebsocketCaller(system.client, made["room_url"], made["token"]) as caller:
            prompts = [(await answered(system, caller))["messages"][0]["content"]]
            await change("Second.", "Third.")
            prompts += [(await answered(system, caller))["messages"][0]["content"]]
    assert prompts == ["Second.", "Third."]


async def test_a_configuration_broken_by_hand_changes_nothing(system: System, bus: Bus) -> None:
    async with await web(system, chat("Be brief.")) as caller, valkey(system) as client:
        await client.set(f"config:{caller.session}", '{"metadata": {}, "config": {"system_prompt": 7}}', keepttl=True)
        request = await answered(system, caller)
        refused = await caller.until("error", code="bad_config")
        assert request["messages"][0]["content"] == "Be brief."
        assert "system_prompt: must be a string" in refused["message"]
        assert not await happened(bus, caller.session, SessionUpdated)


@pytest.mark.accepts("M42", "M43")
async def test_a_live_chat_is_given_a_voice(system: System) -> None:
    async with await web(system, chat()) as caller:
        await answered(system, caller)
        flow = ("transport llm text", "llm tts text", "tts transport audio")
        await asked(system, "PUT", f"/sessions/{caller.session}/config", json=document(flow=flow))
        question = typed()
        await caller.type(question)
        await caller.reply(reply_for(question))


@pytest.mark.accepts("M42", "M43")
async def test_a_live_call_is_made_silent(system: System, bus: Bus) -> None:
    async with await web(system) as caller:
        question = typed()
        await caller.type(question)
        await caller.reply(reply_for(question))
        heard = len(caller.speaker.pieces)
        flow = (*VOICE_LOOP[:2], "llm transport text")
        await asked(system, "PUT", f"/sessions/{caller.session}/config", json=document(flow=flow))
        question = typed()
        await caller.type(question)
        await caller.until("reply", text=reply_for(question).partition(". ")[0] + ".")
        await caller.until("state", state="listening")
        assert len(caller.speaker.pieces) == heard


# -- what a turn costs and whom it asks ------------------------------------------------------------------


NOT_OF_A_TURN = {"info", "publish", "set", "expire", "evalsha", "zrange", "exists", "mget"}


@pytest.mark.accepts("M117")
async def test_a_turn_reads_the_configuration_once(system: System) -> None:
    """Whatever it has of audio and tokens."""
    async with await web(system) as caller, valkey(system) as client:
        question = typed()
        await caller.type(question)
        await caller.reply(reply_for(question))
        before = await commands(client)
        await ask(caller, SHORT)
        after = await commands(client)
    assert {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)} == {"get": 1}


async def commands(client: "Redis") -> dict[str, int]:
    """How often each was called, but for this one, what the bridge tells the pages and looks after now and then, and
    what the clock keeps alive.
    """
    stats: Mapping[str, Mapping[str, int]] = await client.info("commandstats")
    counts = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return {name: count for name, count in counts.items() if name not in NOT_OF_A_TURN}


@pytest.mark.accepts("M51")
async def test_services_meet_on_nats_and_valkey_only(system: System) -> None:
    """While they talk, no worker has a connection to another: to the servers and its provider, and to nobody else."""
    servers = {system.nats.port, system.valkey.port, int(system.standins.url.rpartition(":")[2])}
    async with await web(system) as caller:
        await ask(caller, SHORT)
        for name, process in system.processes.items():
            own = listening(process.pid)
            peers = {remote for local, remote in connections(process.pid) if local not in own}
            assert peers and peers <= servers, name
            callers = {remote for local, remote in connections(process.pid) if local in own}
            assert not callers or name == "transport", name


def connections(pid: int) -> set[tuple[int, int]]:
    """Local and remote ports of the established TCP connections of a process."""
    return {(local, remote) for local, remote, state in _sockets(pid) if state == 1}


def listening(pid: int) -> set[int]:
    return {local for local, _, state in _sockets(pid) if state == 10}


def _sockets(pid: int) -> list[tuple[int, int, int]]:
    mine = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *others = line.split()
            if f"socket:[{others[5]}]" in mine:
                found.append((int(local[-4:], 16), int(remote[-4:], 16), int(state, 16)))
    return found


@pytest.mark.accepts("M55")
async def test_a_service_that_dies_takes_nobody_along(system: System, bus: Bus) -> None:
    system.start_worker("llm-3")
    await system.ready()
    async with await web(system, chat()) as caller:
        await answered(system, caller)
        others = {name: process.pid for name, process in system.processes.items() if name != "llm-3"}
        system.kill("llm-3")
        await answered(system, caller)
        assert {name: process.pid for name, process in system.processes.items() if process.poll() is None} == others
        assert await bus.last_fence(caller.session, Stage.LLM)
