"""N telephone callers in real time against stand-in providers with no latency of their own; every turn is checked.

    python -m bench.voice --calls 30

Prints response times (the caller's last voiced sample sent → the agent's first audible sample received, voice activity
stop 200 ms), turns exact, and the processor and memory that all our processes took, NATS and Valkey among them. The
callers and the stand-ins run on the same machine, in other processes, and are not counted.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import speech
from tests.callers import TelephoneCaller
from tests.providers.brain import reply_for
from tests.unsupervised import System, document, running_system

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    responses: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    cpu: dict[str, float]
    memory: dict[str, float]


def cost(system: System) -> Cost:
    """Processor seconds and resident megabytes of each of our processes."""
    pids = {name: process.pid for name, process in system.processes.items()}
    pids |= {"nats": system.nats.pid, "valkey": system.valkey.pid}
    cpu, memory = {}, {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu[name] = (int(fields[11]) + int(fields[12])) / TICKS
        memory[name] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Cost(cpu, memory)


async def call(system: System, number: int, turns: int, result: Result, begin: asyncio.Event) -> None:
    dice = random.Random(number)
    async with TelephoneCaller(system.client, system.url, agent="bench") as caller:
        await begin.wait()
        await asyncio.sleep(dice.uniform(0, 3))
        for _ in range(turns):
            text = dice.choice([text for text in speech.UTTERANCES if "long story" not in text])
            await caller.say(speech.speak(text))
            voiced, since = caller.last_voiced, caller.now() - 0.02
            try:
                result.responses.append(await caller.reply(reply_for(text), since=since) - voiced)
            except AssertionError as error:
                result.wrong.append(f"call {number}: {error}")
            await asyncio.sleep(dice.uniform(0.3, 1.0))


async def run(system: System, calls: int, turns: int) -> dict[str, Any]:
    result, begin = Result(), asyncio.Event()
    running = [asyncio.create_task(call(system, n, turns, result, begin)) for n in range(calls)]
    await asyncio.sleep(1 + calls * 0.05)
    before, start = cost(system), time.monotonic()
    lateness: list[float] = []
    watch = asyncio.create_task(_watch_own_loop(lateness))
    begin.set()
    await asyncio.gather(*running)
    after, seconds = cost(system), time.monotonic() - start
    watch.cancel()
    share = {name: (after.cpu[name] - before.cpu[name]) / seconds / calls * 100 for name in after.cpu}
    ms = sorted(round(response * 1000) for response in result.responses)
    return {
        "calls": calls,
        "turns": calls * turns,
        "exact": len(ms),
        "wrong": result.wrong,
        "response_ms": {"p50": statistics.median(ms), "p95": ms[int(len(ms) * 0.95)], "max": ms[-1]} if ms else {},
        "cpu_percent_of_a_core_per_call": round(sum(share.values()), 2),
        "cpu_by_process": {name: round(value, 2) for name, value in share.items()},
        "memory_mb": round(sum(after.memory.values()), 1),
        "memory_by_process": {name: round(value, 1) for name, value in after.memory.items()},
        "seconds": round(seconds, 1),
        "callers_late_ms_p95": round(sorted(lateness)[int(len(lateness) * 0.95)] * 1000, 1),
    }


async def _watch_own_loop(lateness: list[float]) -> None:
    """How late this program itself is: a caller that is late measures its own lateness."""
    while True:
        due = time.monotonic() + 0.02
        await asyncio.sleep(0.02)
        lateness.append(time.monotonic() - due)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Voice calls against stand-in providers")
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 8, 30])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="processes of each role")
    parser.add_argument("--ms-per-char", type=float, default=30, help="how slowly the agent's voice speaks")
    asked = parser.parse_args()
    speech.speak_all()
    with tempfile.TemporaryDirectory() as directory:
        async with running_system(
            Path(directory) / "system", workers=asked.workers, bridge=True, ms_per_char=asked.ms_per_char
        ) as system:
            system.import_agent("bench", document())
            before: dict[str, Any] = {}
            for calls in asked.calls:
                report = await run(system, calls, asked.turns)
                if before and calls > before["calls"]:
                    grown = report["memory_mb"] - before["memory_mb"]
                    report["memory_mb_per_further_call"] = round(grown / (calls - before["calls"]), 2)
                print(json.dumps(report, indent=1), flush=True)
                before = report


if __name__ == "__main__":
    asyncio.run(main())
