"""The same faults through LiveKit's and Pipecat's own fallback: the same stand-ins, words and end of the caller's turn.

Each turn of a peer is a process of the peer's own Python, which tells what it hears and what it remembers.
"""

import asyncio
import base64
import json
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.turn import (
    BEHIND,
    MS_PER_CHAR,
    QUESTION,
    RATE,
    REPLY,
    USUAL,
    Chains,
    Ear,
    Log,
    brain,
    elsewhere,
    listen,
    reply,
    set_scene,
)
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.pool import AllFailed, Pool
from mesh.playout import Playout
from tests import speech
from tests.connectors_app.cases import on_wire
from tests.providers import tones
from tests.providers.accounts import Account, account
from tests.providers.elevenlabs import RACHEL
from tests.providers.routes import Turn
from tests.providers.standins import StandIns
from tests.providers.troubles import HEALTHY, TROUBLES, Trouble

OURS = "MeshAG"
NAMES = {"livekit": "LiveKit Agents", "pipecat": "Pipecat"}
CHAINS = {Role.STT: ("deepgram", "openai"), Role.LLM: ("openai", "anthropic"), Role.TTS: ("elevenlabs", "openai")}
"""Of all systems: who fails in a role, and who is behind."""
LIMIT = 40.0
"""Seconds after the caller's last word in which a peer is listened to."""
START_SECONDS = 60.0
"""In which its program loads, and the question is asked."""
LONGEST_LINE = 1 << 24


@dataclass
class Outcome:
    """What one system made of one turn."""

    system: str
    role: str
    provider: str
    fault: str
    response: float | None
    """Seconds from the caller's last word to the first sound; None: there was none."""
    gap: float
    heard: Account
    remembers_right: bool
    """The agent's words in the conversation, as the system keeps it, are those that were heard."""
    notes: list[str] = field(default_factory=list)
    is_over: bool = True
    """The system said so, and was not merely listened to for long enough."""

    @property
    def is_whole(self) -> bool:
        return self.heard.is_exact

    @property
    def is_heard_out(self) -> bool:
        """Nothing was being said any more when the listening ended."""
        return self.is_over or self.response is None


@dataclass(frozen=True)
class History:
    """The words of both in the conversation, as a system keeps it."""

    caller: str
    agent: str


# -- one cell --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    turn: Turn
    trouble: Trouble


async def compare(cell: Cell, peers: Mapping[str, str]) -> list[Outcome]:
    """One after the other, with the same stand-ins on the same port."""
    standins = StandIns(utterances=(QUESTION,), brain=brain, ms_per_char=MS_PER_CHAR, by_word=True)
    async with standins as servers, cell.trouble.address() as address:
        rules = cell.trouble.rules(cell.turn, USUAL)
        set_scene(servers, rules)
        found = [await play_ours(cell, servers, address)]
        for peer, python in peers.items():
            set_scene(servers, rules)
            found.append(await play_peer(cell, servers, address, peer, python))
    return found


def outcome(cell: Cell, system: str, ear: Ear, history: History, notes: list[str]) -> Outcome:
    words = tones.words(bytes(ear.audio), ear.rate)
    heard, response = account(REPLY, words), ear.first if ear.audio else None
    if _plain(history.caller) != _plain(QUESTION):
        heard = account(REPLY, ())  # it is no answer to the question
        notes.append(f"understood {history.caller!r}" if history.caller else "understood nothing")
    remembers_right = [one.hash for one in words if one.complete] == [*map(tones.WORD.value, history.agent.split())]
    named = (cell.turn.role.value, str(cell.turn), str(cell.trouble))
    return Outcome(system, *named, response, ear.gap, heard, remembers_right, notes)


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


async def play_ours(cell: Cell, servers: StandIns, address: str) -> Outcome:
    environ = servers.env
    if address:
        environ = dict(elsewhere(cell.turn, environ, address))
    chains: Chains = {role: (list(slugs), {}) for role, slugs in CHAINS.items()}
    pool, log, ear, deadlines = Pool(environ), Log(), Ear(), Deadlines()
    for role in CHAINS:
        await pool.warm(role)
    text = ""
    try:
        text, ear.since = await listen(pool, chains, deadlines, log)
        await reply(pool, chains, deadlines, log, text, ear)
    except AllFailed as error:
        log.failures.append(("all", str(error), time.monotonic()))
    finally:
        await pool.close()
    notes = dict.fromkeys(f"{name}: {why}" for name, why, _ in log.failures)
    return outcome(cell, OURS, ear, History(text, remembered(ear)), [*notes])


def remembered(ear: Ear) -> str:
    """What a session would: the sentences that its playout tells to be heard."""
    playout = Playout(RATE, lead=float("inf"))
    playout.begin(1)
    for number, (text, pcm) in enumerate(ear.sentences):
        playout.text(number, text)
        playout.audio(number, 0, bytes(pcm), end=True)
    playout.finish(len(ear.sentences), 0.0)
    playout.due(0.0)
    return " ".join(spoken.text for spoken in playout.progress(float("inf")))


# -- a peer ----------------------------------------------------------------------------------------------


async def play_peer(cell: Cell, servers: StandIns, address: str, peer: str, python: str) -> Outcome:
    with tempfile.NamedTemporaryFile(suffix=".s16le") as question:
        question.write(speech.speak(QUESTION, RATE))
        question.flush()
        program = Path(__file__).with_name(f"{peer}_turn.py")
        process = await asyncio.create_subprocess_exec(
            python, str(program), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=LONGEST_LINE
        )
        told, order = Told(), _order(cell, servers, address, question.name)
        try:
            async with asyncio.timeout(START_SECONDS + LIMIT):
                await _listen_to(process, order, told)
        except TimeoutError:
            told.notes.append("its program did not come to its end")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    return replace(outcome(cell, NAMES[peer], told.ear, told.history, told.notes), is_over=told.is_over)


async def _listen_to(process: Process, order: Mapping[str, Any], told: "Told") -> None:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(order).encode())
    process.stdin.close()
    async for line in process.stdout:
        told.take(json.loads(line))
    if code := await process.wait():
        told.notes.append(f"its program ended with {code}")


@dataclass
class PeerEar(Ear):
    """As the other one, with times that somebody else took of the same clock."""

    def hear_at(self, at: float, rate: int, pcm: bytes) -> None:
        self.rate = rate
        if self.audio or any(pcm):  # silence before the first sound is no response
            self.hear(pcm, at)


@dataclass
class Told:
    """What the program of a peer tells of its turn."""

    ear: PeerEar = field(default_factory=PeerEar)
    history: History = History("", "")
    notes: list[str] = field(default_factory=list)
    is_over: bool = True

    def take(self, fact: Mapping[str, Any]) -> None:
        match fact:
            case {"spoken": since}:
                self.ear.since = since
            case {"pcm": pcm, "at": at, "rate": rate}:
                self.ear.hear_at(at, rate, base64.b64decode(pcm))
            case {"history": lines}:
                self.history = History(*(_said(lines, role) for role in ("user", "assistant")))
            case {"open": seconds} if seconds > 1:
                self.notes.append(f"opens after {seconds:.1f} s")
            case {"limit": _}:
                self.is_over = False
            case {"note": note} if note not in self.notes:
                self.notes.append(note)


def _said(lines: Sequence[Sequence[str]], role: str) -> str:
    return " ".join(text for speaker, text in lines if speaker == role and text)


def _order(cell: Cell, servers: StandIns, address: str, question: str) -> dict[str, Any]:
    def provider(role: Role, place: int) -> dict[str, str]:
        slug = CHAINS[role][place]
        fails = role is cell.turn.role and place == 0
        url = address if fails and address else servers.url
        return {"name": slug, "url": url, "key": servers.env[f"{slug.upper()}_API_KEY"], "voice": RACHEL}

    chains = {role.value: [provider(role, place) for place in range(len(slugs))] for role, slugs in CHAINS.items()}
    return {"question": question, "rate": RATE, "limit": LIMIT, "chains": chains}


# -- all of them -----------------------------------------------------------------------------------------


def cells(only: Sequence[str], fault: str) -> list[Cell]:
    turns = [turn for turn in on_wire(*BEHIND) if turn.slug == CHAINS[turn.role][0] and not turn.variant]
    wanted = [turn for turn in turns if not only or turn.role in only or str(turn) in only]
    return [
        Cell(turn, trouble)
        for turn in wanted
        for trouble in (HEALTHY, *TROUBLES)
        if trouble.fits(turn) and fault in trouble.name
    ]
