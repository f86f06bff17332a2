import json

from connectors_app.base.connector import Sealed
from mesh.config.document import dump
from mesh.config.reading import parse
from mesh.events import SessionUpdated
from mesh.subjects import Stage
from tests.workers.lines import transport_process
from workers.documents import Setup, find_config, find_setup


async def test_a_session_is_taken_over_with_its_last_config(nats_url: str, valkey_url: str) -> None:
    """Also when Valkey has it no more."""
    async with transport_process(nats_url, valkey_url) as process:
        bus, configs, session = (
            process.transport.bus,
            process.transport.configs,
            await process.create(greeting="First."),
        )
        config = await find_config(session, configs, bus)
        last = dump(config.model_copy(update={"greeting": "Last."}))
        writer = await bus.take_fence(session, Stage.SESSION, owner="somebody")
        await writer.append(SessionUpdated(config=last, revision="2"))
        await configs.delete_config(session)
        assert (await find_config(session, configs, bus)).greeting == "Last."


async def test_credentials_are_found_beside_the_config(nats_url: str, valkey_url: str) -> None:
    async with transport_process(nats_url, valkey_url) as process:
        bus, configs, session = process.transport.bus, process.transport.configs, await process.create()
        config = await find_config(session, configs, bus)
        await configs.store_config(session, config, credentials={"deepgram": "sealed"})
        assert await find_setup(session, configs, bus) == Setup(config, Sealed("default", {"deepgram": "sealed"}))


async def test_a_config_by_hand_takes_no_credentials_away(nats_url: str, valkey_url: str) -> None:
    async with transport_process(nats_url, valkey_url) as process:
        bus, configs, session = process.transport.bus, process.transport.configs, await process.create()
        document = dump(await find_config(session, configs, bus))
        writer = await bus.take_fence(session, Stage.SESSION, owner="somebody")
        await writer.append(SessionUpdated(config=document, revision="2", credentials={"deepgram": "sealed"}))
        await writer.append(SessionUpdated(config=document, revision="3"))
        async with process.transport.valkey.reaching() as client:
            await client.set(f"config:{session}", json.dumps({"metadata": {}, "config": document}))
        assert await find_setup(session, configs, bus) == Setup(
            parse(document), Sealed("default", {"deepgram": "sealed"})
        )
        await configs.delete_config(session)
        assert (await find_setup(session, configs, bus)).credentials.values == {"deepgram": "sealed"}
