"""What is suggested for a voice's name that does not exist."""

import pytest

from connectors_app.voice_names import nearest

NAMES = ["Rachel - calm", "Adam", "Sarah", "en-US-JennyNeural", "en-GB-SoniaNeural", "aura-2-thalia-en"]


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("Rachell", ["Rachel - calm"]),
        ("sara", ["Sarah"]),
        ("en-us-jeny", ["en-US-JennyNeural"]),
        ("talia", ["aura-2-thalia-en"]),
        ("Zbigniew", []),
    ],
)
def test_what_is_near_is_suggested(wanted: str, near: list[str]) -> None:
    assert nearest(wanted, NAMES) == near


def test_three_are_enough() -> None:
    assert len(nearest("Anna", [f"Anna {n}" for n in range(9)])) == 3
