"""What a caller hears when a provider fails: every provider, every fault, one whole turn each, in real time.

    python -m bench.faults --into docs/failover.md
    python -m bench.faults --only tts --fault cut
    python -m bench.faults --peers livekit=/path/to/python pipecat=/path/to/python --into docs/failover.md

Prints, and writes between the marks of a document, what `bench.turn` measures; with `--peers` beside those.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.pages import line, table_of, write_between
from bench.peers import beside, comparison
from bench.turn import BEHIND, RATE, REPLY, USUAL, Ear, Log, listen, reply, stage
from connectors_app.asking import Deadlines
from connectors_app.pool import AllFailed
from tests.connectors_app.cases import on_wire
from tests.providers import tones
from tests.providers.accounts import Account, account
from tests.providers.routes import Turn
from tests.providers.troubles import HEALTHY, TROUBLES, Trouble

COLUMNS = ("provider", "fault", "response ms", "gap ms", "words lost", "doubled", "next heard after ms", "told as")

# -- one cell ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    role: str
    provider: str
    fault: str
    response: float
    """Seconds from the caller's last word to the agent's first."""
    gap: float
    """The longest silence inside the reply that is there because audio was late."""
    heard: Account
    switched: float | None
    """Seconds from the failure's being told to the next provider's first piece; None: nobody had to."""
    why: str


async def play(turn: Turn, trouble: Trouble, deadlines: Deadlines) -> Result:
    async with trouble.address() as address, stage(turn, trouble.rules(turn, USUAL), address) as (pool, chains):
        log, ear = Log(), Ear()
        try:
            text, ear.since = await listen(pool, chains, deadlines, log)
            await reply(pool, chains, deadlines, log, text, ear)
        except AllFailed as error:
            log.failures.append(("all", str(error), time.monotonic()))
    words = account(REPLY, tones.words(bytes(ear.audio), RATE))
    switched = log.switches[0][1] - log.failures[0][2] if log.switches and log.failures else None
    why = log.failures[0][1] if log.failures else ""
    return Result(turn.role, str(turn), trouble.name, ear.first, ear.gap, words, switched, why)


# -- the table -------------------------------------------------------------------------------------------


async def table(only: Sequence[str], fault: str, at_once: int) -> list[Result]:
    seats = asyncio.Semaphore(at_once)
    found: list[Result] = []

    async def cell(turn: Turn, trouble: Trouble) -> None:
        async with seats:
            found.append(result := await play(turn, trouble, Deadlines()))
            print(row(result), flush=True)

    turns = [turn for turn in on_wire(*BEHIND) if not only or turn.role in only or str(turn) in only]
    cells = [
        (turn, trouble)
        for turn in turns
        for trouble in (HEALTHY, *TROUBLES)
        if trouble.fits(turn) and fault in trouble.name
    ]
    await asyncio.gather(*(cell(*one) for one in cells))
    places = {(str(turn), trouble.name): place for place, (turn, trouble) in enumerate(cells)}
    return sorted(found, key=lambda result: places[result.provider, result.fault])


def row(result: Result) -> str:
    switched = "" if result.switched is None else f"{result.switched * 1000:.0f}"
    words = result.heard
    figures = [
        f"{result.response * 1000:.0f}",
        f"{result.gap * 1000:.0f}",
        len(words.lost),
        len(words.doubled),
        switched,
    ]
    return line(result.provider, result.fault, *figures, result.why)


async def main() -> None:
    parser = argparse.ArgumentParser(description="What a caller hears when a provider fails")
    parser.add_argument("--only", nargs="*", default=[], help="roles or providers such as tts-azure")
    parser.add_argument("--fault", default="", help="faults with this in their name")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=PYTHON", help=f"of {', '.join(beside.NAMES)}")
    parser.add_argument("--into", type=Path, help="a document, between whose marks the table is written")
    asked = parser.parse_args()
    if asked.peers:
        peers = dict(peer.split("=", 1) for peer in asked.peers)
        await comparison.write(beside.cells(asked.only, asked.fault), peers, asked.at_once, asked.into)
        return
    print(line(*COLUMNS))
    results = await table(asked.only, asked.fault, asked.at_once)
    if asked.into:
        write_between(asked.into, "faults", table_of(COLUMNS, map(row, results)))


if __name__ == "__main__":
    asyncio.run(main())
