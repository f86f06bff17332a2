"""Stage workers: who has a session's stage, and what becomes of it when an actor breaks or a worker leaves."""

import asyncio

import msgspec
import pytest

from mesh import subjects
from mesh.bus.client import Bus
from mesh.events import SessionUpdated, TurnEnded
from mesh.subjects import Stage
from tests.unsupervised import document
from tests.workers.stages import SECONDS, Cast, begin_session, claim
from workers.stage import Claim, Taken

pytestmark = pytest.mark.nats


async def ask(bus: Bus, worker: str, claim: Claim) -> Taken:
    answer = await bus.request(subjects.worker_claim(worker), msgspec.json.encode(claim), within=SECONDS)
    return msgspec.json.decode(answer, type=Taken)


async def owner(bus: Bus, session: str) -> tuple[str, int]:
    fence = await bus.last_fence(session, Stage.LLM)
    assert fence
    return fence.event.owner, fence.epoch  # type: ignore[union-attr]


TURN = TurnEnded(turn=1, generation=1, text="hello", cause="typed")


async def test_a_broken_actor_gives_its_stage_back(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a"), asyncio.timeout(SECONDS):
        async with cast.casting.cast(Stage.LLM, claim(session)) as part:
            actor = await cast.actor(0)
            actor.tasks.create_task(fail())
            await part.lost.wait()
        async with cast.casting.cast(Stage.LLM, claim(session)) as part:
            await cast.actor(1)
            assert part.epoch == 2 and not part.lost.is_set()


async def fail() -> None:
    raise ValueError("a fault")


async def test_a_stage_given_back_goes_to_another(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a"), cast.worker("b"), asyncio.timeout(SECONDS):
        had = []
        for number in range(2):
            async with cast.casting.cast(Stage.LLM, claim(session)) as part:
                had.append(part.worker)
                (await cast.actor(number)).tasks.create_task(fail())
                await part.lost.wait()
        assert len(set(had)) == 2


async def test_a_fault_in_a_live_event_ends_the_actor(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a"), asyncio.timeout(SECONDS), cast.casting.cast(Stage.LLM, claim(session)) as part:
        (await cast.actor(0)).fault = KeyError("llm")
        writer = await bus.take_fence(session, Stage.SESSION, owner="transport")
        await writer.append(TURN)
        await part.lost.wait()
        assert cast.actors[0].closed.is_set()


async def test_more_events_than_fit_end_the_actor(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a"), asyncio.timeout(SECONDS), cast.casting.cast(Stage.LLM, claim(session)) as part:
        actor = await cast.actor(0)
        for _ in range(1001):
            actor.post(TURN)
        await part.lost.wait()


async def test_a_late_claim_takes_nothing(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a") as slow, cast.worker("b") as quick, asyncio.timeout(SECONDS):
        assert (await ask(bus, quick.name, claim(session)())).ok
        late = await ask(bus, slow.name, claim(session)())
        assert not late.ok and await owner(bus, session) == (quick.name, 1)
        assert (slow.host.sessions, quick.host.sessions) == (0, 1)


async def test_of_two_claims_one_actor_comes(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a") as worker, asyncio.timeout(SECONDS):
        answers = await asyncio.gather(*(ask(bus, worker.name, claim(session)()) for _ in range(2)))
        assert sorted(answer.ok for answer in answers) == [False, True]
        assert len(cast.actors) == 1 and not cast.actors[0].closed.is_set()


async def test_a_former_owner_lets_go(cast: Cast, bus: Bus) -> None:
    """Also one that has nothing to write."""
    session = await begin_session(bus)
    async with cast.worker("a"), cast.casting.cast(Stage.LLM, claim(session)), asyncio.timeout(SECONDS):
        actor = await cast.actor(0)
        await bus.take_fence(session, Stage.LLM, owner="another")
        await actor.closed.wait()


async def test_only_the_last_config_of_the_past_counts(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    writer = await bus.take_fence(session, Stage.SESSION, owner="transport")
    without = document(flow=("transport stt audio", "stt tts text", "tts transport audio"))
    del without["connectors"]["llm"]
    for revision, config in enumerate((without, document(system_prompt="Be brief."))):
        await writer.append(SessionUpdated(config=config, revision=str(revision)))
    async with cast.worker("a"), cast.casting.cast(Stage.LLM, claim(session)), asyncio.timeout(SECONDS):
        actor = await cast.actor(0)
        assert actor.config.system_prompt == "Be brief."


# -- leaving ---------------------------------------------------------------------------------------------


async def test_a_draining_worker_stays_until_it_is_replaced(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    casting = cast.casting
    async with cast.worker("a") as a, cast.worker("b") as b, casting.cast(Stage.LLM, claim(session)) as part:
        leaving, staying = (a, b) if part.worker == a.name else (b, a)
        leaving.stop.set()
        await asyncio.wait_for(part.leaving.wait(), SECONDS)
        assert not part.lost.is_set() and leaving.host.sessions == 1
        async with casting.cast(Stage.LLM, claim(session)) as other:
            await asyncio.wait_for(leaving.running, SECONDS)
            assert other.worker == staying.name and not other.lost.is_set()


async def test_a_worker_alone_does_not_wait(cast: Cast, bus: Bus) -> None:
    session = await begin_session(bus)
    async with cast.worker("a", grace=60) as worker, cast.casting.cast(Stage.LLM, claim(session)) as part:
        worker.stop.set()
        async with asyncio.timeout(5):
            await worker.running
            await part.lost.wait()
        assert not part.leaving.is_set()
