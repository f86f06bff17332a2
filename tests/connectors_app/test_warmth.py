"""What is imported before a turn: an import takes longer than a caller waits for a word."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from tests import speech
from tests.connectors_app.cases import on_wire
from tests.connectors_app.turns import ready, used
from tests.providers.standins import StandIns
from connectors_app.base.connector import Role

async def main():
    question = speech.speak(speech.UTTERANCES[0], 8000)
    async with StandIns(utterances=speech.UTTERANCES[:1]) as servers:
        environ = {**servers.env, "CUSTOM_BASE_URL": servers.env["OPENAI_BASE_URL"]}
        for turn in on_wire(Role(sys.argv[1])):
            async with ready(turn, environ) as connector:
                await connector.warm()
                before = set(sys.modules)
                await used(connector, question)
                for name in sorted(set(sys.modules) - before):
                    print(turn, name)

asyncio.run(main())
"""


@pytest.mark.parametrize("role", ["stt", "llm", "tts"])
def test_a_turn_imports_nothing(role: str) -> None:
    """In a process of its own, because here the other tests have imported everything."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, role], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
