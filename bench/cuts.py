"""Replies and sentences that are cut at random points: what is lost, and what is said twice.

    python -m bench.cuts --count 1000 --into docs/failover.md

Half of the cuts are in the reply of a random language model, half in a sentence of a random voice. The next model goes
on exactly, begins anew, or repeats a sentence first, at random.
"""

import argparse
import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from bench.pages import line, table_of, write_between
from bench.turn import QUESTION, RATE, REPLY, Log, brain, chain_of
from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.language_model import Message
from connectors_app.breaker import Breakers
from connectors_app.pool import AllFailed, Pool
from connectors_app.speaking import Speaking
from tests.connectors_app.cases import on_wire
from tests.providers import tones
from tests.providers.accounts import account
from tests.providers.brain import GoingOn
from tests.providers.routes import Kind, Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

SPEEDS = (30.0, 45.0, 65.0, 90.0, 130.0)
"""Of the voices: milliseconds a character. Most real ones take 50 to 80."""


@dataclass
class Cuts:
    """What became of replies and sentences that were cut at random points."""

    cuts: int = 0
    switched: int = 0
    sentences: int = 0
    lost: int = 0
    doubled: int = 0
    words_lost: int = 0
    words_doubled: int = 0
    failed: list[str] = field(default_factory=list)


async def cut(count: int, seed: int) -> dict[Role, Cuts]:
    """By role. Each cut is one reply of a random model, or one sentence of a random voice, at a random piece."""
    dice = random.Random(seed)
    found = {Role.LLM: Cuts(), Role.TTS: Cuts()}
    for speed in SPEEDS:
        async with StandIns(utterances=(QUESTION,), brain=brain, ms_per_char=speed, by_word=True) as servers:
            pool = Pool({**servers.env, "CUSTOM_BASE_URL": servers.env["OPENAI_BASE_URL"]})
            for role in found:
                await pool.warm(role)
            for number in range(count // len(SPEEDS)):
                role = (Role.LLM, Role.TTS)[number % 2]
                await _cut_one(servers, pool, dice, role, found[role])
            await pool.close()
    return found


async def _cut_one(servers: StandIns, pool: Pool, dice: random.Random, role: Role, cuts: Cuts) -> None:
    turn = dice.choice(on_wire(role))
    kinds = [Fault.CUT] if turn.answered.kind is Kind.RAW_VOICE else [Fault.CUT, Fault.END, Fault.GARBAGE]
    longest = len(REPLY.split()) if role is Role.LLM else 30
    servers.calm()
    servers.steer(turn.answered, Behaviour(fault=dice.choice(kinds), after=dice.randrange(longest), nth=1))
    servers.backstage.going_on = dice.choice(list(GoingOn))
    pool.breakers = Breakers()
    await (_cut_reply if role is Role.LLM else _cut_sentence)(pool, turn, cuts)


async def _cut_reply(pool: Pool, turn: Turn, cuts: Cuts) -> None:
    log, said = Log(), []
    chain = pool.models(*chain_of(Role.LLM, turn))
    try:
        async with aclosing(answer(chain, [Message("user", QUESTION)], Deadlines(), log)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Sentence):
                    said.append(piece.text)
    except AllFailed as error:
        cuts.failed.append(str(error))
    await chain.close()
    wanted = tones.sentences(REPLY)
    cuts.cuts += 1
    cuts.switched += bool(log.switches)
    cuts.sentences += len(wanted)
    cuts.lost += sum(sentence not in said for sentence in wanted)
    cuts.doubled += len(said) - len(set(said))


async def _cut_sentence(pool: Pool, turn: Turn, cuts: Cuts) -> None:
    log, audio = Log(), bytearray()
    wanted = tones.sentences(REPLY)[0]
    chain = pool.voices(*chain_of(Role.TTS, turn))
    try:
        async with Speaking(chain, RATE, Deadlines()) as voice, aclosing(voice.speak(wanted, log)) as pieces:
            async for pcm in pieces:
                audio += pcm
    except AllFailed as error:
        cuts.failed.append(str(error))
    await chain.close()
    words = account(wanted, tones.words(bytes(audio), RATE))
    cuts.cuts += 1
    cuts.switched += bool(log.switches)
    cuts.sentences += 1
    cuts.lost += len(words.lost) == len(wanted.split())
    cuts.doubled += len(words.doubled) >= len(wanted.split())
    cuts.words_lost += len(words.lost)
    cuts.words_doubled += len(words.doubled)


COLUMNS = ("cut in", "cuts", "switched", "sentences", "lost", "doubled", "words lost", "words doubled", "failed")


def row(role: Role, cuts: Cuts) -> str:
    what = {Role.LLM: "the reply of a model", Role.TTS: "the sentence of a voice"}[role]
    counts = (cuts.cuts, cuts.switched, cuts.sentences, cuts.lost, cuts.doubled, cuts.words_lost, cuts.words_doubled)
    return line(what, *counts, len(cuts.failed))


async def main() -> None:
    parser = argparse.ArgumentParser(description="Replies that are cut at random points")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, help="a document, between whose marks the table is written")
    asked = parser.parse_args()
    table = table_of(COLUMNS, [row(*found) for found in (await cut(asked.count, asked.seed)).items()])
    print(*table, sep="\n")
    if asked.into:
        write_between(asked.into, "cuts", table)


if __name__ == "__main__":
    asyncio.run(main())
