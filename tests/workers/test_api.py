import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, HttpVersion10
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from mesh.config.reading import parse
from mesh.store import StoreUnavailable
from tests.servers import running_valkey
from tests.workers.desks import KEY, SEED, Front, body, document, front
from workers import steering
from workers.desk import AgentAnswer, Unavailable
from workers.settings import Settings

DEMO = AgentAnswer("default", "demo", 3, document())


async def made(front: Front, **changes: object) -> dict[str, Any]:
    """A session made as documented."""
    async with front.client.post("/sessions/with-config", json=body(**changes)) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def stored(front: Front) -> set[str]:
    """The sessions of which Valkey holds something; it is shared with other tests."""
    return {*await front.desk.configs.list_configs(), *await front.desk.sessions.list()}


async def nothing_is_left(front: Front) -> bool:
    return not await stored(front) & {spec.id for spec in front.desk.created}


async def explained(response: ClientResponse, status: int) -> str:
    """The error's sentence."""
    answer = await response.json()
    assert response.status == status, answer
    return str(answer["error"])


async def paths(response: ClientResponse) -> list[str]:
    """The fields that a 422 names."""
    answer = await response.json()
    assert response.status == 422, answer
    assert all(problem["message"] for problem in answer["detail"])
    return [problem["path"] for problem in answer["detail"]]


# -- creating with a configuration -----------------------------------------------------------------------


@pytest.mark.accepts("M72", "M73", "M78", "M80", "M81")
async def test_the_documented_body_makes_a_session(embedded: Front) -> None:
    answer = await made(embedded)
    assert list(answer) == ["session_id", "room_url", "token", "config_stored"]
    assert answer["config_stored"] is True
    assert answer["room_url"] == f"{embedded.url.replace('http', 'ws')}/media/websocket/{answer['session_id']}"
    assert len(answer["token"]) >= 32


@pytest.mark.accepts("M36", "M37", "M38", "M52", "M53")
async def test_the_configuration_is_stored_with_a_ttl(embedded: Front) -> None:
    session = (await made(embedded))["session_id"]
    assert await embedded.desk.configs.get_config(session) == parse(document())
    assert 3590 <= (await embedded.desk.configs.get_config_ttl(session) or 0) <= 3600


@pytest.mark.accepts("M74")
async def test_the_wishes_reach_the_session(embedded: Front) -> None:
    await made(embedded, enable_transcription=False)
    spec = embedded.desk.created[0]
    assert (spec.name, spec.max_participants, spec.captions) == ("my-ai-session", 10, False)
    assert (spec.workspace, spec.transport) == ("default", "websocket")
    assert spec.details["transcription"] is spec.details["recording"] is False


async def test_a_recording_that_is_not_made_is_said(embedded: Front) -> None:
    async with embedded.client.post("/sessions/with-config", json=body()) as response:
        assert "no recording" in response.headers["MeshAG-Notice"]
        session = (await response.json())["session_id"]
    shown = await (await embedded.client.get(f"/sessions/{session}")).json()
    assert (shown["recording"], shown["transcription"]) == (False, True)
    assert "one caller" in response.headers["MeshAG-Notice"]
    assert shown["notices"] == response.headers["MeshAG-Notice"].split("; ")


async def test_a_public_url_leads_to_wss(deployed: Front) -> None:
    answer = await made(deployed)
    assert answer["room_url"] == f"wss://calls.example/media/websocket/{answer['session_id']}"


@pytest.mark.accepts("M89", "M90")
async def test_a_daily_session_names_its_settings(embedded: Front) -> None:
    async with embedded.client.post("/sessions/with-config", json=body(config=SEED)) as response:
        sentence = await explained(response, 503)
    assert "DAILY_API_KEY" in sentence and "DAILY_DOMAIN" in sentence
    assert embedded.desk.created == []


async def test_a_daily_key_alone_is_not_enough(embedded: Front) -> None:
    embedded.desk.environ = {"DAILY_API_KEY": "k"}
    async with embedded.client.post("/sessions/with-config", json=body(config=SEED)) as response:
        sentence = await explained(response, 503)
    assert "DAILY_DOMAIN" in sentence and "DAILY_API_KEY" not in sentence


@pytest.mark.parametrize(("transport", "words"), [("twilio", "POST /twilio"), ("pigeon", "websocket, twilio, daily")])
async def test_other_transports_are_explained(embedded: Front, transport: str, words: str) -> None:
    async with embedded.client.post("/sessions/with-config", json=body(config=document(transport))) as response:
        assert await paths(response) == ["config.connectors.transport.primary"]
        assert words in await response.text()


@pytest.mark.accepts("M88")
async def test_a_missing_key_is_named(embedded: Front) -> None:
    embedded.desk.usable = {"stt": frozenset(["openai"]), "tts": frozenset(["elevenlabs"])}
    async with embedded.client.post("/sessions/with-config", json=body()) as response:
        sentence = await explained(response, 503)
    assert "llm: openai needs OPENAI_API_KEY" in sentence
    assert "stt" not in sentence and await nothing_is_left(embedded)


async def test_a_fallback_that_works_is_enough(embedded: Front) -> None:
    embedded.desk.usable["llm"] = frozenset(["anthropic"])
    await made(embedded)


async def test_a_missing_worker_is_named(embedded: Front) -> None:
    embedded.desk.usable = {}
    embedded.desk.environ = {"OPENAI_API_KEY": "k"}
    async with embedded.client.post("/sessions/with-config", json=body()) as response:
        assert "no running llm worker can use openai" in await explained(response, 503)


@pytest.mark.accepts("M52")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"config": {}}, "config.system_prompt"),
        ({"config": 7}, "config"),
        ({"config": {**document(), "system_prompt": 7}}, "config.system_prompt"),
        ({"session_name": 7}, "session_name"),
        ({"session_name": "a\0"}, "session_name"),
        ({"session_name": "\ud800"}, "session_name"),
        ({"max_participants": 0}, "max_participants"),
        ({"max_participants": True}, "max_participants"),
        ({"enable_recording": "yes"}, "enable_recording"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_body_names_the_field(embedded: Front, changes: dict[str, object], path: str) -> None:
    async with embedded.client.post("/sessions/with-config", json=body(**changes)) as response:
        assert path in await paths(response)
    assert embedded.desk.created == []


async def test_a_missing_configuration_is_named(embedded: Front) -> None:
    async with embedded.client.post("/sessions/with-config", json={}) as response:
        assert await paths(response) == ["config"]


async def test_a_configuration_without_transport_is_refused(embedded: Front) -> None:
    config = document()
    config["pipeline"]["flow"] = [{"from": "stt", "to": "llm", "stream": "text"}]
    del config["connectors"]["transport"]
    async with embedded.client.post("/sessions/with-config", json=body(config=config)) as response:
        assert await paths(response) == ["config.connectors.transport"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":NaN}', b'{"a":1,"a":2}', b"[" * 100_000, b"/* */{}"])
async def test_what_is_not_json_is_400(embedded: Front, data: bytes) -> None:
    async with embedded.client.post("/sessions/with-config", data=data) as response:
        assert "not JSON" in await explained(response, 400) or "nested" in await response.text()


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b'"text"'])
async def test_json_that_is_no_object_is_422(embedded: Front, data: bytes) -> None:
    async with embedded.client.post("/sessions/with-config", data=data) as response:
        assert await paths(response) == [""]


async def test_a_huge_body_is_413(embedded: Front) -> None:
    async with embedded.client.post("/sessions/with-config", data=b" " * 600_000) as response:
        assert "512 KiB" in await explained(response, 413)


async def test_a_huge_compressed_body_is_413(embedded: Front) -> None:
    data = gzip.compress(b" " * 5_000_000)
    headers = {"Content-Encoding": "gzip"}
    async with embedded.client.post("/sessions/with-config", data=data, headers=headers) as response:
        assert response.status == 413


async def test_a_falsely_compressed_body_is_400(embedded: Front) -> None:
    headers = {"Content-Encoding": "gzip"}
    async with embedded.client.post("/sessions/with-config", data=b"plain", headers=headers) as response:
        assert response.status == 400


@pytest.mark.accepts("M52")
async def test_a_failing_bus_leaves_nothing_behind(embedded: Front) -> None:
    embedded.desk.away = "bus"
    before = await stored(embedded)
    async with embedded.client.post("/sessions/with-config", json=body()) as response:
        assert await explained(response, 503) == "The bus is away."
    assert await stored(embedded) <= before


async def test_an_absent_store_is_503(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server:
        async with front(server.url, Settings(embedded=True), {}) as opened:
            server.kill()
            async with opened.client.post("/sessions/with-config", json=body()) as response:
                assert "Valkey" in await explained(response, 503)
            assert opened.desk.created == []


async def test_a_failing_token_ends_the_session(embedded: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object) -> str:
        raise StoreUnavailable("Valkey is away.")

    monkeypatch.setattr(embedded.desk.tokens, "issue", fail)
    async with embedded.client.post("/sessions/with-config", json=body()) as response:
        assert response.status == 503
    assert embedded.desk.ended == [(embedded.desk.created[0].id, "failed")]
    assert await nothing_is_left(embedded)


names = st.sampled_from([*body(), *document(), *document()["connectors"], "primary", "fallback", "x", ""])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["websocket", "stt"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, json_values, max_size=3), st.dictionaries(names, json_values, max_size=3))
async def test_no_body_is_our_failure(embedded: Front, changes: dict[str, Any], config: dict[str, Any]) -> None:
    sent = {**body(config={**document(), **config}), **changes}
    async with embedded.client.post("/sessions/with-config", data=json.dumps(sent)) as response:
        assert response.status in (200, 400, 422), await response.text()
    async with embedded.client.post("/sessions", data=json.dumps(changes)) as response:
        assert response.status in (400, 422), await response.text()


# -- creating for an agent -------------------------------------------------------------------------------


async def test_a_session_for_an_agent(embedded: Front) -> None:
    embedded.desk.agents = [DEMO]
    async with embedded.client.post("/sessions", json={"agent": "demo"}) as response:
        answer = await response.json()
    assert list(answer) == [
        "session_id",
        "room_url",
        "room_name",
        "meeting_token",
        "expires_at",
        "provider_metadata",
    ]
    assert answer["room_name"] == answer["session_id"]
    spec = embedded.desk.created[0]
    assert (spec.agent, spec.agent_version, spec.config) == ("demo", 3, parse(document()))


async def test_a_record_tells_when_the_invitation_ends(embedded: Front) -> None:
    embedded.desk.agents = [DEMO]
    async with embedded.client.post("/sessions", json={"agent": "demo"}) as response:
        answer = await response.json()
    record = await embedded.desk.sessions.get(answer["session_id"])
    assert record is not None
    lateness = datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(record["join_by"])
    assert abs(lateness) < timedelta(seconds=5)


async def test_the_default_agent_answers(embedded: Front) -> None:
    embedded.desk.agents = [DEMO]
    wishes = {"name": "Front desk", "max_participants": 1, "enable_transcription": False}
    request = {"provider": "websocket", "room_config": wishes, "participant_config": {"name": "Ada"}, "options": {}}
    async with embedded.client.post("/sessions", json=request) as response:
        assert response.status == 200
    spec = embedded.desk.created[0]
    assert embedded.desk.asked == [("default", "", "")]
    assert (spec.name, spec.caller, spec.captions) == ("Front desk", "Ada", False)


async def test_a_session_brings_its_own_variables(embedded: Front) -> None:
    own = document("websocket") | {"user_template": "{input_data} in {city}", "variables": {"city": "Ulm", "team": 1}}
    embedded.desk.agents = [AgentAnswer("default", "demo", 1, own)]
    async with embedded.client.post("/sessions", json={"variables": {"city": "Köln"}}) as response:
        assert response.status == 200
    assert embedded.desk.created[0].config.variables == {"city": "Köln", "team": 1}


async def test_another_provider_may_carry_an_agent(embedded: Front) -> None:
    embedded.desk.agents = [AgentAnswer("default", "demo", 1, document("daily"))]
    async with embedded.client.post("/sessions", json={"provider": "websocket"}) as response:
        assert response.status == 200
    assert embedded.desk.created[0].transport == "websocket"


@pytest.mark.parametrize(
    ("request_body", "path"),
    [
        ({"agent": "nobody"}, "agent"),
        ({"agent": 7}, "agent"),
        ({"provider": "pigeon"}, "provider"),
        ({"room_config": {"privacy": "Public"}}, "room_config.privacy"),
        ({"room_config": {"max_participants": -1}}, "room_config.max_participants"),
        ({"options": {"x": 1}}, "options.x"),
        ({"participant_config": []}, "participant_config"),
        ({"variables": None}, "variables"),
        ({"variables": {"the city": "Ulm"}}, "variables.the city"),
        ({"variables": {"input_data": "x"}}, "variables.input_data"),
    ],
)
async def test_a_wrong_agent_request_names_the_field(
    embedded: Front, request_body: dict[str, object], path: str
) -> None:
    embedded.desk.agents = [DEMO]
    async with embedded.client.post("/sessions", json=request_body) as response:
        assert await paths(response) == [path]


async def test_no_agent_at_all_is_said(embedded: Front) -> None:
    async with embedded.client.post("/sessions", json={}) as response:
        assert "no default agent" in await explained(response, 422)


# -- reading and ending ----------------------------------------------------------------------------------


async def test_sessions_are_listed_with_their_status(deployed: Front) -> None:
    first, second = (await made(deployed))["session_id"], (await made(deployed))["session_id"]
    await deployed.desk.move(second, "live")
    listed = await (await deployed.client.get("/sessions")).json()
    active = await (await deployed.client.get("/sessions?status=aCTive")).json()
    assert listed["total"] == len(listed["sessions"]) >= 2
    assert {session["session_id"]: session["status"] for session in listed["sessions"]}[first] == "Created"
    shown = {session["session_id"] for session in active["sessions"]}
    assert second in shown and first not in shown


async def test_an_unknown_status_is_refused(deployed: Front) -> None:
    async with deployed.client.get("/sessions?status=asleep") as response:
        assert await paths(response) == ["status"]


async def test_a_session_is_shown(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    shown = await (await deployed.client.get(f"/sessions/{session}")).json()
    documented = {"session_id", "room_name", "room_url", "status", "participants", "created_at", "updated_at"}
    assert documented <= shown.keys()
    assert (shown["session_id"], shown["status"], shown["room_name"]) == (session, "Created", session)
    assert "workspace" not in shown and "token" not in shown


@pytest.mark.accepts("M39")
async def test_a_session_can_be_ended_twice(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    for _ in range(2):
        async with deployed.client.delete(f"/sessions/{session}") as response:
            assert await response.json() == {"message": "Session ended successfully", "session_id": session}
    assert deployed.desk.ended == [(session, "ended")]
    assert await deployed.desk.configs.get_config(session) is None
    assert (await (await deployed.client.get(f"/sessions/{session}")).json())["status"] == "Ended"


@pytest.mark.parametrize("session", ["unknown", "a" * 65, "%00", "..%2f", "keys", "ä"])
@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("DELETE", ""), ("GET", "/config"), ("PUT", "/config")])
async def test_an_unknown_session_is_404(deployed: Front, session: str, method: str, suffix: str) -> None:
    async with deployed.client.request(method, f"/sessions/{session}{suffix}", json=document()) as response:
        assert response.status == 404


# -- configuration ---------------------------------------------------------------------------------------


@pytest.mark.accepts("M39")
async def test_a_changed_configuration_is_stored(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    changed = {**document(), "system_prompt": "Be brief."}
    async with deployed.client.put(f"/sessions/{session}/config", json=changed) as response:
        answer = await response.json()
    shown = await (await deployed.client.get(f"/sessions/{session}/config")).json()
    assert (shown["config"], shown["revision"]) == (changed, answer["revision"])


async def test_a_change_keeps_the_time_to_live(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    await deployed.desk.configs.extend_config_ttl(session, 7200)
    await deployed.client.put(f"/sessions/{session}/config", json=document())
    assert (await deployed.desk.configs.get_config_ttl(session) or 0) > 7100


@pytest.mark.accepts("M52")
async def test_a_wrong_configuration_changes_nothing(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    async with deployed.client.put(f"/sessions/{session}/config", json={**document(), "system_prompt": 7}) as response:
        assert await paths(response) == ["system_prompt"]
    assert await deployed.desk.configs.get_config(session) == parse(document())


async def test_a_change_keeps_the_transport(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    async with deployed.client.put(f"/sessions/{session}/config", json=document("daily")) as response:
        assert await paths(response) == ["connectors.transport.primary"]


@pytest.mark.parametrize("broken", ["{", "7", '{"config": 7}', '{"config": {"connectors": 7}}'])
async def test_what_was_broken_by_hand_is_mended(deployed: Front, valkey_url: str, broken: str) -> None:
    session = (await made(deployed))["session_id"]
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.set(f"config:{session}", broken, keepttl=True)
    async with deployed.client.put(f"/sessions/{session}/config", json=document()) as response:
        assert response.status == 200
    assert await deployed.desk.configs.get_config(session) == parse(document())


async def test_a_change_needs_usable_providers(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    deployed.desk.usable = {}
    async with deployed.client.put(f"/sessions/{session}/config", json=document()) as response:
        assert "OPENAI_API_KEY" in await explained(response, 503)


# -- the workspace's own credentials ---------------------------------------------------------------------

SEALED = {"openai": "sealed-for-openai", "elevenlabs": "sealed-for-elevenlabs", "azure": "sealed-for-azure"}


async def test_an_own_credential_makes_a_provider_usable(deployed: Front) -> None:
    deployed.desk.usable = {role: frozenset(["offline"]) for role in ("stt", "llm", "tts")}
    deployed.desk.own = {"elsewhere": SEALED}
    async with deployed.client.post("/sessions/with-config", json=body()) as response:
        assert "OPENAI_API_KEY or a credential of the workspace" in await explained(response, 503)
    deployed.desk.own = {"default": SEALED}
    assert (await made(deployed))["config_stored"]


async def test_without_a_worker_a_credential_is_of_no_use(deployed: Front) -> None:
    deployed.desk.usable, deployed.desk.own = {}, {"default": SEALED}
    async with deployed.client.post("/sessions/with-config", json=body()) as response:
        assert "no running stt worker can use openai" in await explained(response, 503)


async def test_credentials_are_beside_what_people_see(deployed: Front) -> None:
    deployed.desk.own = {"default": SEALED}
    session = (await made(deployed))["session_id"]
    entry = await deployed.desk.configs.get_entry(session)
    assert entry is not None and entry.credentials == SEALED == deployed.desk.created[-1].credentials
    for path in ("/sessions", f"/sessions/{session}", f"/sessions/{session}/config"):
        async with deployed.client.get(path) as response:
            assert response.status == 200 and "sealed" not in await response.text()


async def test_a_change_brings_the_newest_credentials(deployed: Front) -> None:
    deployed.desk.own = {"default": SEALED}
    session = (await made(deployed))["session_id"]
    deployed.desk.own = {"default": {"openai": "another"}}
    async with deployed.client.put(f"/sessions/{session}/config", json=document()) as response:
        assert response.status == 200
    entry = await deployed.desk.configs.get_entry(session)
    assert entry is not None and entry.credentials == {"openai": "another"}


async def test_a_change_without_a_bridge_keeps_credentials(deployed: Front) -> None:
    deployed.desk.own = {"default": SEALED}
    session = (await made(deployed))["session_id"]
    record = await deployed.desk.sessions.get(session)
    assert record is not None
    deployed.desk.away = "bridge"
    deployed.desk.usable = {role: frozenset(["offline"]) for role in ("stt", "llm", "tts")}
    await steering.change_config(deployed.desk, record, document() | {"system_prompt": "Now in verse."})
    entry = await deployed.desk.configs.get_entry(session)
    assert entry is not None and entry.credentials == SEALED


async def test_a_new_provider_needs_the_bridge(deployed: Front) -> None:
    """Else it would be paid with the environment's key, although the workspace may have one."""
    session = (await made(deployed))["session_id"]
    record = await deployed.desk.sessions.get(session)
    assert record is not None
    deployed.desk.away = "bridge"
    changed = document()
    changed["connectors"]["llm"] = {"primary": "custom", "config": {"custom": {"model": "m"}}}
    with pytest.raises(Unavailable):
        await steering.change_config(deployed.desk, record, changed)


async def test_another_name_needs_the_bridge(deployed: Front) -> None:
    deployed.desk.own = {"default": SEALED}
    session = (await made(deployed))["session_id"]
    record = await deployed.desk.sessions.get(session)
    assert record is not None
    deployed.desk.away = "bridge"
    with pytest.raises(Unavailable):
        await steering.change_config(deployed.desk, record, document() | {"credentials": {"openai": "Billing account"}})


async def test_an_ended_session_does_not_change(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    await deployed.client.delete(f"/sessions/{session}")
    async with deployed.client.put(f"/sessions/{session}/config", json=document()) as response:
        assert "over" in await explained(response, 409)


async def test_a_deleted_session_has_no_configuration(deployed: Front) -> None:
    session = (await made(deployed))["session_id"]
    await deployed.client.delete(f"/sessions/{session}")
    async with deployed.client.get(f"/sessions/{session}/config") as response:
        assert "no configuration" in await explained(response, 404)


# -- access ----------------------------------------------------------------------------------------------

EVERY_ROUTE = [
    ("POST", "/sessions/with-config"),
    ("POST", "/sessions"),
    ("GET", "/sessions"),
    ("GET", "/sessions/s"),
    ("DELETE", "/sessions/s"),
    ("GET", "/sessions/s/config"),
    ("PUT", "/sessions/s/config"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
@pytest.mark.parametrize("key", ["", "wrong", "mag_ä", "k" * 300])
async def test_nobody_enters_without_a_valid_key(deployed: Front, method: str, path: str, key: str) -> None:
    async with deployed.client.request(method, path, json=body(), headers={"X-API-Key": key}) as response:
        assert "API key" in await explained(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_way_to_a_key_is_told(deployed: Front) -> None:
    del deployed.client.headers["X-API-Key"]
    async with deployed.client.get("/sessions") as response:
        sentence = await explained(response, 401)
    assert "Authorization: Bearer" in sentence and "MESHAG_API_KEY" in sentence


async def test_a_bearer_key_opens_the_workspace(deployed: Front) -> None:
    del deployed.client.headers["X-API-Key"]
    async with deployed.client.get("/sessions", headers={"Authorization": f"bearer {KEY}"}) as response:
        assert response.status == 200


async def test_a_stranger_sees_nothing(deployed: Front, stranger: dict[str, str]) -> None:
    session = (await made(deployed))["session_id"]
    listed = await (await deployed.client.get("/sessions", headers=stranger)).json()
    assert listed == {"sessions": [], "total": 0}
    for method, path in EVERY_ROUTE[3:]:
        url = path.replace("/s", f"/{session}").replace(f"/{session}essions", "/sessions")
        async with deployed.client.request(method, url, json=document(), headers=stranger) as response:
            assert response.status == 404
    assert deployed.desk.ended == []


async def test_an_absent_bridge_is_503(deployed: Front) -> None:
    deployed.desk.away = "bridge"
    async with deployed.client.get("/sessions") as response:
        assert await explained(response, 503) == "The bridge is away."


async def test_a_wrong_key_is_refused_even_here(embedded: Front) -> None:
    async with embedded.client.get("/sessions", headers={"X-API-Key": "wrong"}) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "10.0.0.7:8084"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_the_open_door_is_for_this_machine(embedded: Front, headers: dict[str, str]) -> None:
    async with embedded.client.post("/sessions/with-config", json=body(), headers=headers) as response:
        assert response.status == 401
    assert embedded.desk.created == []


async def test_a_closed_door_is_closed_here_too(valkey_url: str) -> None:
    async with front(valkey_url, Settings(embedded=True, open_door=False), {}) as shut:
        async with shut.client.post("/sessions/with-config", json=body()) as response:
            assert response.status == 401
        async with shut.client.post("/twilio", data={"CallSid": "CA1"}) as response:
            assert response.status in (401, 403)


@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:8084"}, {"Host": "[::1]"}, {"Origin": "http://localhost:8000"}]
)
async def test_this_machine_needs_no_key(embedded: Front, headers: dict[str, str]) -> None:
    async with embedded.client.get("/sessions", headers=headers) as response:
        assert response.status == 200


async def test_a_proxy_that_says_nothing_of_itself_needs_a_key(embedded: Front) -> None:
    """As nginx does by default: a loopback `Host`, no header about its client, HTTP/1.0."""
    async with (
        ClientSession(version=HttpVersion10) as proxy,
        proxy.get(f"{embedded.url}/sessions") as response,
    ):
        assert response.status == 401
