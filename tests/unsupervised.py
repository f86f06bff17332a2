"""The whole system on free ports without its supervisor: every process a test may kill, against stand-in providers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from meshag_site.ports import free_port
from tests.providers.standins import StandIns, StandInsProcess
from tests.servers import RunningServer, running_nats, running_valkey

ROOT = Path(__file__).parent.parent
START_SECONDS = 40.0
STOP_SECONDS = 10.0
VOICE_LOOP = ("transport stt audio", "stt llm text", "llm tts text", "tts transport audio")


def document(*, flow: tuple[str, ...] = VOICE_LOOP, transport: str = "websocket", **changes: Any) -> dict[str, Any]:
    """An agent of the core providers. Times are short, so that tests are."""
    return {
        "system_prompt": "You are a helpful voice assistant.",
        "pipeline": {
            "name": "test",
            "flow": [dict(zip(("from", "to", "stream"), step.split(), strict=True)) for step in flow],
        },
        "connectors": {
            "stt": {"primary": "deepgram", "config": {}},
            "llm": {"primary": "openai", "config": {"openai": {"model": "gpt-4o"}}},
            "tts": {"primary": "elevenlabs", "config": {"elevenlabs": {"voice": "Rachel"}}},
            "transport": {"primary": transport, "config": {}},
        },
        "turn": {"stop_ms": 200},
        **changes,
    }


class System:
    """Its processes by name: `stt-1`, `stt-2`, `llm-1`, …, `transport`, `bridge`."""

    def __init__(
        self,
        directory: Path,
        nats: RunningServer,
        valkey: RunningServer,
        standins: StandInsProcess,
        client: aiohttp.ClientSession,
        environ: Mapping[str, str],
    ) -> None:
        self.directory = directory
        self.nats = nats
        self.valkey = valkey
        self.standins = standins
        self.client = client
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))},
            **standins.env,
            "NATS_URL": nats.url,
            "VALKEY_URL": valkey.url,
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "MESHAG_DATA_DIR": str(directory),
            "MESHAG_EMBEDDED": "1",
            "PYTHONUNBUFFERED": "1",
            **environ,
        }

    # -- processes ----------------------------------------------------------------------------------------

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes[name] = process
        return process

    def start_worker(self, name: str) -> None:
        role = name.split("-")[0]
        self.start(name, "-m", "workers", role, "--id", f"{name}-{time.monotonic_ns()}", "--port", "0")

    def start_transport(self) -> None:
        self.start("transport", "-m", "workers", "transport", "--port", str(self.port))

    def kill(self, name: str) -> None:
        """As by hand: `kill -9`, and nobody says so."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        hung = [name for name, process in self.processes.items() if not _ends(process)]
        assert not hung, "\n".join(f"{name} did not end on SIGTERM:\n{self.log(name)[-3000:]}" for name in hung)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def import_agent(self, slug: str, config: Mapping[str, Any], *extra: str) -> None:
        file = self.directory / f"{slug}.json"
        file.write_text(json.dumps(config))
        self.manage("agents", "import", str(file), "--slug", slug, "--publish", *extra)

    async def ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        body: object = ""
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended:\n{self.log(name)[-3000:]}"
            try:
                async with self.client.get(f"{self.url}/ready") as response:
                    body = await response.json()
                    if response.status == 200 and self._has_all_workers(body):
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError(f"the system is not ready: {body}")

    def _has_all_workers(self, body: Any) -> bool:
        counts = {check["name"]: check["message"].split()[0] for check in body["checks"] if "workers_" in check["name"]}
        started = [name.split("-")[0] for name in self.processes]
        return all(int(counts[f"workers_{role}"]) >= started.count(role) for role in ("stt", "llm", "tts"))

    # -- sessions -----------------------------------------------------------------------------------------

    async def create(self, config: Mapping[str, Any], **body: Any) -> dict[str, Any]:
        payload = {"config": config, **body}
        async with self.client.post(f"{self.url}/sessions/with-config", json=payload) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """In time; else it is killed."""
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


@asynccontextmanager
async def running_system(
    directory: Path, *, workers: int = 2, bridge: bool = False, ms_per_char: float = 60.0, **environ: str
) -> AsyncIterator[System]:
    """`bridge` starts the Django side too, on a fresh database with an operator in the default workspace."""
    with ExitStack() as stack:
        (directory / "nats").mkdir(parents=True)
        (directory / "valkey").mkdir()
        nats = stack.enter_context(running_nats(directory / "nats"))
        valkey = stack.enter_context(running_valkey(directory / "valkey"))
        async with StandIns.process(ms_per_char=ms_per_char) as standins, aiohttp.ClientSession() as client:
            system = System(directory, nats, valkey, standins, client, environ)
            try:
                if bridge:
                    system.manage("migrate", "--verbosity", "0")
                    system.manage(
                        "shell",
                        "-c",
                        "from accounts_app.actions import *; create_first_operator(password='pw-for-tests')",
                    )
                    system.start("bridge", "manage.py", "bridge")
                for role in ("stt", "llm", "tts"):
                    for number in range(1, workers + 1):
                        system.start_worker(f"{role}-{number}")
                system.start_transport()
                await system.ready()
                yield system
            finally:
                system.stop()
