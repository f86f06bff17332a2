"""The cells of the comparison, played and told: each role's sum, and one line for each fault and system."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from bench.pages import line, table_of, write_between
from bench.peers.beside import CHAINS, LIMIT, Cell, Outcome, compare

SUMS = (
    "role",
    "system",
    "turns",
    "whole replies",
    "heard nothing",
    "words lost",
    "doubled",
    "history is not what was heard",
    "slowest response ms",
    "longest gap ms",
)
COLUMNS = ("fault", "system", "response ms", "gap ms", "words lost", "doubled", "history is what was heard", "it says")
LONGEST_NOTE = 160


async def write(cells: Sequence[Cell], peers: Mapping[str, str], at_once: int, into: Path | None) -> None:
    """Some cells at once, each of them with its systems one after the other."""
    seats = asyncio.Semaphore(at_once)
    versions = [await version(peer, python) for peer, python in peers.items()]
    print("\n".join(("", *table_of(("role", *COLUMNS), ()))))

    async def play(cell: Cell) -> list[Outcome]:
        async with seats:
            found = await compare(cell, peers)
        for one in found:
            print(line(one.role, *_figures(one)), flush=True)
        return found

    outcomes = [one for found in await asyncio.gather(*map(play, cells)) for one in found]
    told = [*_preface(versions, at_once), *document(outcomes)]
    print("\n".join(told))
    if into:
        write_between(into, "peers", told)


async def version(peer: str, python: str) -> str:
    """Of the package that is measured, as its Python has it."""
    package = {"livekit": "livekit-agents", "pipecat": "pipecat-ai"}[peer]
    asks = f"from importlib.metadata import version; print(version({package!r}))"
    process = await asyncio.create_subprocess_exec(python, "-c", asks, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{python} has no {package}.")
    return f"{package} {told.decode().strip()}"


def _preface(versions: Sequence[str], at_once: int) -> Iterator[str]:
    chains = "; ".join(f"{role}: {' → '.join(slugs)}" for role, slugs in CHAINS.items())
    yield f"Measured: {', '.join(versions)}; {at_once} turns at once on {os.cpu_count()} cores. {chains}."
    yield ""


def document(outcomes: Sequence[Outcome]) -> Iterator[str]:
    by_role = {role: list(found) for role, found in groupby(outcomes, attrgetter("role"))}
    yield from table_of(SUMS, (line(*sums) for found in by_role.values() for sums in _sums(found)))
    for found in by_role.values():
        yield from ("", f"`{found[0].provider}` fails:", "")
        yield from table_of(COLUMNS, (line(*_figures(one)) for one in found))


def _sums(outcomes: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for system in dict.fromkeys(one.system for one in outcomes):
        found = [one for one in outcomes if one.system == system]
        yield (
            found[0].role,
            system,
            len(found),
            sum(one.is_whole for one in found),
            sum(one.response is None for one in found),
            sum(len(one.heard.lost) for one in found),
            sum(len(one.heard.doubled) for one in found),
            sum(one.is_heard_out and not one.remembers_right for one in found),
            _ms(max((one.response for one in found if one.response is not None), default=None)),
            _ms(max(one.gap for one in found)),
        )


def _figures(one: Outcome) -> tuple[object, ...]:
    notes = " ".join("; ".join(one.notes).replace("|", "/").split())
    notes = notes if len(notes) <= LONGEST_NOTE else f"{notes[: LONGEST_NOTE - 1]}…"
    nothing = "nothing" if one.is_over else f"nothing within {LIMIT:g} s"
    response = nothing if one.response is None else _ms(one.response)
    words = one.heard
    history = str(one.remembers_right).lower() if one.is_heard_out else f"speaks on after {LIMIT:g} s"
    return one.fault, one.system, response, _ms(one.gap), len(words.lost), len(words.doubled), history, notes


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}"
