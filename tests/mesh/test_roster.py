"""Who gets the next session, read as stories. Times are seconds."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mesh.roster import LEASE, Beat, Roster


def roster(*beats: Beat, now: float = 0.0) -> Roster:
    found = Roster()
    for beat in beats:
        found.hear(beat, now)
    return found


def beat(worker: str, role: str = "llm", **facts: object) -> Beat:
    return Beat(id=worker, role=role, **facts)  # type: ignore[arg-type]


def test_nobody_is_there_at_first() -> None:
    assert (Roster().pick("llm"), Roster().workers("llm"), Roster().providers("llm")) == (None, [], frozenset())


def test_only_the_role_is_picked() -> None:
    found = roster(beat("ear", "stt"), beat("brain"))
    assert found.pick("llm") == "brain"
    assert found.pick("tts") is None


def test_fewer_sessions_come_first() -> None:
    assert roster(beat("one", sessions=3), beat("two", sessions=2, load=0.9)).pick("llm") == "two"


def test_equal_sessions_are_told_apart_by_load() -> None:
    assert roster(beat("one", load=0.8), beat("two", load=0.1)).pick("llm") == "two"


def test_sessions_are_shared_between_heartbeats() -> None:
    found = roster(beat("one"), beat("two"), beat("three", load=0.5))
    assert Counter(found.pick("llm") for _ in range(9)) == {"one": 3, "two": 3, "three": 3}


def test_a_heartbeat_knows_better_than_the_guess() -> None:
    found = roster(beat("one"), beat("two", sessions=2))
    assert [found.pick("llm") for _ in range(2)] == ["one", "one"]
    found.hear(beat("one", sessions=1), 0.2)  # one of the two has refused
    assert found.pick("llm") == "one"


def test_a_draining_worker_takes_nothing_new() -> None:
    found = roster(beat("one", draining=True), beat("two", sessions=50))
    assert found.pick("llm") == "two"
    assert found.is_there("one")


def test_a_draining_worker_is_no_successor() -> None:
    assert not roster(beat("one", draining=True)).has_another("llm")
    assert roster(beat("one", draining=True), beat("two")).has_another("llm")


def test_who_refused_is_not_asked_again() -> None:
    assert roster(beat("one"), beat("two", sessions=1)).pick("llm", exclude={"one"}) == "two"
    assert roster(beat("one")).pick("llm", exclude={"one"}) is None


def test_a_silent_worker_is_lost_once() -> None:
    found = roster(beat("one"))
    assert found.lost(LEASE) == []
    assert found.lost(LEASE + 0.01) == ["one"]
    assert found.lost(LEASE + 0.02) == []
    assert not found.is_there("one") and found.pick("llm") is None


def test_a_heartbeat_renews_the_lease() -> None:
    found = roster(beat("one"))
    found.hear(beat("one"), 0.9)
    assert found.lost(1.8) == []


def test_a_worker_that_has_gone_is_forgotten() -> None:
    found = roster(beat("one", providers=("openai",)))
    found.gone("one")
    found.gone("one")
    assert (found.pick("llm"), found.lost(9), found.providers("llm")) == (None, [], frozenset())


def test_a_worker_that_comes_back_is_picked() -> None:
    found = roster(beat("one"))
    found.gone("one")
    found.hear(beat("one"), 5)
    assert found.pick("llm") == "one"


def test_providers_of_all_workers_are_known() -> None:
    found = roster(beat("one", providers=("openai",)), beat("two", providers=("anthropic", "openai")))
    assert found.providers("llm") == {"openai", "anthropic"}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 30))
def test_new_sessions_even_out(sessions: list[int], more: int) -> None:
    found = roster(*(beat(str(number), sessions=count) for number, count in enumerate(sessions)))
    totals = Counter({str(number): count for number, count in enumerate(sessions)})
    totals.update(found.pick("llm") or "" for _ in range(more))
    given_to = [totals[str(number)] for number, count in enumerate(sessions) if totals[str(number)] > count]
    assert max(given_to) <= min(totals.values()) + 1
