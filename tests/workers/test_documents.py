from mesh.config import dump
from mesh.events import SessionUpdated
from mesh.subjects import Stage
from tests.workers.lines import transport_process
from workers.documents import find_config


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
