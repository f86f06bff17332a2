import ast
import sys
from pathlib import Path

import pytest

from bench.peers import beside, comparison
from bench.peers.beside import History, Outcome, PeerEar, remembered
from bench.turn import QUESTION, REPLY, Ear
from tests.providers import tones

PEERS = {"livekit": {"livekit", "aiohttp"}, "pipecat": {"pipecat", "anthropic", "loguru"}}


def outcome(system: str, said: str, remembers: str, understood: str = QUESTION) -> Outcome:
    """Of a turn in which this was heard and remembered."""
    cell = next(cell for cell in beside.cells(["llm"], "cut"))
    ear = PeerEar()
    if said:
        ear.hear_at(0.8, 8000, tones.encode_words(said, 8000))
    return beside.outcome(cell, system, ear, History(understood, remembers), [])


@pytest.mark.parametrize("peer", beside.NAMES)
def test_a_peers_program_needs_the_peer_only(peer: str) -> None:
    tree = ast.parse(Path(beside.__file__).with_name(f"{peer}_turn.py").read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in found if name} <= PEERS[peer] | sys.stdlib_module_names


def test_silence_first_is_no_response() -> None:
    ear = PeerEar(since=10.0)
    ear.hear_at(10.5, 24_000, bytes(480))
    ear.hear_at(11.0, 24_000, b"\1\0" * 240)
    assert (ear.first, ear.gap, len(ear.audio)) == (1.0, 0.0, 480)


def test_a_late_piece_is_a_gap() -> None:
    ear = PeerEar(since=10.0)
    for at in (10.5, 12.0):
        ear.hear_at(at, 24_000, b"\1\0" * 24_000)
    assert ear.gap == 0.5


def test_ours_remembers_sentences_with_sound() -> None:
    ear = Ear()
    for sentence, pcm in (("Yes.", b"\1\0"), ("No.", b"")):
        ear.expect(sentence)
        if pcm:
            ear.hear(pcm, 1.0)
    assert remembered(ear) == "Yes."


def test_a_memory_of_unheard_words_is_wrong() -> None:
    first = tones.sentences(REPLY)[0]
    assert outcome("x", first, first).remembers_right
    assert not outcome("x", first, REPLY).remembers_right


def test_another_reply_is_no_answer() -> None:
    other = outcome("x", "Say it again.", "Say it again.", understood="")
    assert other.heard.lost == tuple(REPLY.split())
    assert (other.remembers_right, other.notes) == (True, ["understood nothing"])


def test_each_system_has_its_sums() -> None:
    first = tones.sentences(REPLY)[0]
    told = list(comparison.document([outcome("ours", REPLY, REPLY), outcome("theirs", "", first)]))
    assert told[2] == "| llm | ours | 1 | 1 | 0 | 0 | 0 | 0 | 800 | 0 |"
    assert told[3].startswith(f"| llm | theirs | 1 | 0 | 1 | {len(REPLY.split())} | 0 | 1 | ")
    assert any(line.startswith("| cut midway | theirs | nothing | 0 | ") for line in told)
