"""The client of the websocket protocol, as its reader runs it."""

import asyncio
import math
import struct
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshag_site.ports import free_port
from tests.workers.desks import Front, RecordingDesk, document, front
from workers.desk import AgentAnswer
from workers.media.wire import Audio, Opened, Wire
from workers.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "call_with_wav.py"
SAMPLES = [round(9000 * math.sin(n / 7)) for n in range(3200)]


class EchoingDesk(RecordingDesk):
    """An agent that repeats the first 200 ms of sound that it hears, and ends the call."""

    async def answer_media(self, session: str, wire: Wire) -> None:
        heard = b""
        async for fact in wire.receive():
            if isinstance(fact, Opened):
                await wire.welcome(session)
                await wire.tell({"type": "state", "state": "listening"})
            elif isinstance(fact, Audio) and (heard or fact.pcm.strip(b"\0")):
                heard += fact.pcm
                await wire.play(fact.pcm)
            if len(heard) >= 6400:
                await wire.tell({"type": "reply", "text": "You said that."})
                return await wire.close("ended")


@pytest.fixture
async def echo(valkey_url: str) -> AsyncIterator[Front]:
    async with front(valkey_url, Settings(embedded=True), {}, EchoingDesk) as opened:
        opened.desk.agents = [AgentAnswer("default", "demo", 1, document())]
        yield opened


def write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(SAMPLES)}h", *SAMPLES))


async def run(*arguments: str | Path) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.accepts("M68")
async def test_the_answer_is_saved_and_shown(echo: Front, tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav")
    code, out, errors = await run(tmp_path / "question.wav", tmp_path / "answer.wav", echo.url)
    assert (code, errors) == (0, "")
    assert "welcome" in out and "You said that." in out
    with wave.open(str(tmp_path / "answer.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 3200)
        assert struct.unpack("<3200h", file.readframes(3200)) == tuple(SAMPLES)


async def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    code, _, errors = await run("", tmp_path / "answer.wav", f"http://127.0.0.1:{free_port()}")
    assert code == 1 and "make up" in errors and "Traceback" not in errors
