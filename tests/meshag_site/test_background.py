"""What worker and scheduler say of themselves."""

import os

import pytest

from meshag_site import background
from meshag_site.background import BEAT, WORKER, Life, Run, read_lives, read_runs


def test_last_run_of_a_job_is_kept(valkey_url: str) -> None:
    first, second = (Run(job="sweep", at=at, seconds=0.1, result=f"{at} keys") for at in (1.0, 2.0))
    with background.connect(valkey_url) as client:
        background.note_run(client, first)
        background.note_run(client, second)
        assert read_runs(client)["sweep"] == second


@pytest.mark.parametrize("text", ["{}", "no", "[1]"])
def test_run_that_nobody_can_read_is_none(valkey_url: str, text: str) -> None:
    with background.connect(valkey_url) as client:
        client.hset(background.RUNS, "broken", text)
        assert "broken" not in read_runs(client)


def test_who_lives_is_named_with_its_place(valkey_url: str) -> None:
    with background.connect(valkey_url) as client:
        background.note_alive(client, BEAT)
        lives = read_lives(client)
        background.note_gone(client, BEAT)
        assert not client.exists(background.ALIVE)
    assert [life.who for life in lives] == [BEAT]
    assert lives[0].place.endswith(f":{os.getpid()}")


def test_who_was_silent_for_an_hour_is_forgotten(valkey_url: str) -> None:
    with background.connect(valkey_url) as client:
        client.zadd(background.ALIVE, {"celery@elsewhere:7": 1.0})
        background.note_alive(client, WORKER)
        lives = read_lives(client)
        background.note_gone(client, WORKER)
    assert Life("celery", "elsewhere:7", 1.0) not in lives and len(lives) == 1
