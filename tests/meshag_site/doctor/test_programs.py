"""What the doctor says of those that run, by what they say of themselves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mesh import subjects
from mesh.bus.client import Bus
from mesh.roster import BEAT, Beat
from meshag_site.background import BEAT as SCHEDULE
from meshag_site.background import SILENT_AFTER, WORKER, Life, Run
from meshag_site.doctor import programs
from meshag_site.doctor.findings import Installation, Level
from tests.meshag_site.doctor.conftest import Make

NOW = 1_000_000.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def beating(nats_url: str) -> AsyncIterator[None]:
    """One stt worker."""
    beat = msgspec.json.encode(Beat(id="stt-1", role="stt", sessions=3))

    async def go_on(bus: Bus) -> None:
        while True:
            await bus.publish(subjects.worker_beat("stt"), beat)
            await asyncio.sleep(BEAT / 4)

    async with await Bus.connect(nats_url, "worker") as bus:
        task = asyncio.create_task(go_on(bus))
        yield
        task.cancel()


async def test_workers_are_known_by_their_beats(healthy: Installation, beating: None) -> None:
    found = {finding.name: finding for finding in await programs.check_workers(healthy)}
    assert found["Workers: stt"].seen == "1, with 3 sessions"
    assert found["Workers: tts"].level is Level.PROBLEM and "python -m workers tts" in found["Workers: tts"].fix


def test_one_session_is_one() -> None:
    assert programs._role("llm", [Beat(id="llm-1", role="llm", sessions=1)]).seen == "1, with 1 session"


def test_workers_that_all_leave_are_a_problem() -> None:
    beats = [Beat(id=f"llm-{number}", role="llm", draining=True) for number in range(2)]
    assert programs._role("llm", beats).level is Level.PROBLEM


async def serving(handler: Handler, path: str = "/{rest:.*}") -> TestServer:
    application = web.Application()
    application.add_routes([web.get(path, handler)])
    server = TestServer(application)
    await server.start_server()
    return server


async def test_page_that_is_not_ready_says_why(installation: Make) -> None:
    async def ready(request: web.Request) -> web.Response:
        checks = [{"name": "nats", "status": "unhealthy", "message": "set NATS_URL"}]
        return web.json_response({"checks": checks}, status=503)

    server = await serving(ready)
    its = installation(runtime={"MESHAG_WEB_PORT": str(server.port), "pages": {"stt-1": 1}})
    found = {finding.name: finding for finding in await programs.check_pages(its)}
    await server.close()
    assert found["web"].seen == "is not ready: nats: set NATS_URL"
    assert "stt-1.log" in found["stt-1"].fix


# -- jobs -----------------------------------------------------------------------------------------------


async def test_jobs_without_a_worker_are_a_problem(healthy: Installation) -> None:
    assert (await programs.check_jobs(healthy))[0].level is Level.PROBLEM


@pytest.mark.parametrize(
    ("who", "ago", "level"),
    [
        ((WORKER, SCHEDULE), 1.0, Level.OK),
        ((WORKER, SCHEDULE), SILENT_AFTER, Level.PROBLEM),
        ((WORKER,), 1.0, Level.PROBLEM),
        ((WORKER, SCHEDULE, SCHEDULE), 1.0, Level.WARNING),
    ],
)
def test_who_does_the_jobs(healthy: Installation, who: tuple[str, ...], ago: float, level: Level) -> None:
    lives = [Life(name, f"here:{number}", NOW - ago) for number, name in enumerate(who)]
    assert programs._who_works(healthy, lives, NOW).level is level


def test_jobs_that_are_about_to_start(installation: Make) -> None:
    finding = programs._who_works(installation(runtime={"started_at": NOW - 5}), [], NOW)
    assert finding.level is Level.OK and "about to" in finding.seen


def test_jobs_that_were_turned_off(installation: Make) -> None:
    finding = programs._who_works(installation(environ={"MESHAG_CELERY_WORKERS": "0"}), [], NOW)
    assert finding.level is Level.WARNING and "turned off" in finding.seen


@pytest.mark.parametrize(
    ("run", "level", "words"),
    [
        (None, Level.OK, "has not run yet; it does every 10 minutes"),
        (Run(job="a", at=NOW - 60, seconds=0.1, result="3 keys"), Level.OK, "ran 60 seconds ago, in 0.1 s: 3 keys"),
        (Run(job="a", at=NOW - 60, seconds=0.1, error="no such table"), Level.WARNING, "no such table"),
        (Run(job="a", at=NOW - 7200, seconds=0.1), Level.WARNING, "2 hours ago"),
    ],
)
def test_last_run_of_a_job(run: Run | None, level: Level, words: str) -> None:
    finding = programs._last_run("sessions_app.tasks.delete_past_retention", 600, run, NOW)
    assert (finding.name, finding.level) == ("Job: delete past retention", level)
    assert words in finding.seen


# -- the transport's socket -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "level"),
    [
        (403, {}, Level.OK),
        (404, {}, Level.OK),
        (404, {"Content-Security-Policy": "default-src 'none'"}, Level.PROBLEM),
        (502, {}, Level.PROBLEM),
    ],
)
async def test_refusal_of_the_transport_is_an_answer(
    installation: Make, status: int, headers: dict[str, str], level: Level
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        assert request.headers["Upgrade"] == "websocket"
        return web.Response(status=status, headers=headers)

    server = await serving(refuse)
    (finding,) = await programs.check_socket(installation(runtime={"TRANSPORT_PORT": str(server.port)}))
    await server.close()
    assert finding.level is level


async def test_nobody_at_the_transports_port(installation: Make) -> None:
    (finding,) = await programs.check_socket(installation(runtime={"TRANSPORT_PORT": "1"}))
    assert finding.level is Level.PROBLEM and "transport" in finding.fix


async def test_silent_transport_keeps_nobody(installation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "ANSWER_WITHIN", 0.05)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()  # and takes nobody
        runtime = {"TRANSPORT_PORT": str(server.getsockname()[1])}
        async with asyncio.timeout(5):
            (finding,) = await programs.check_socket(installation(runtime=runtime))
    assert finding.level is Level.PROBLEM
