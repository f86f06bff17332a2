"""When a provider is out, when it is probed and when it is back: pure rules, the time is an argument."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Credentials
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.breaker import Breaker, Entry, Rules, Target
from connectors_app.providers.custom import CustomChat
from tests.connectors_app.fakes import ScriptedModel, failing

TARGET = Target("llm.first.0123", "llm", "first", "First")
RULES = Rules()
SOON = [ErrorKind.SERVER, ErrorKind.TIMEOUT, ErrorKind.BROKEN, ErrorKind.EMPTY]
AT_ONCE = [ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.REFUSED, ErrorKind.RATE_LIMIT]
NEVER = [ErrorKind.REQUEST, ErrorKind.UNCONFIGURED]


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(TARGET, RULES)


def fail(breaker: Breaker, now: float, kind: ErrorKind = ErrorKind.SERVER, retry_after: float | None = None) -> None:
    breaker.failed(failing(kind, retry_after=retry_after), now, started=now)


def attempt(breaker: Breaker, now: float, *, is_good: bool) -> None:
    if is_good:
        breaker.answered(now, started=now)
    else:
        fail(breaker, now)


def break_off(breaker: Breaker, now: float) -> None:
    breaker.answered(now, started=now)
    breaker.failed(failing(ErrorKind.BROKEN), now, started=now, midway=True)


def out_at(now: float, kind: ErrorKind = ErrorKind.AUTH, retry_after: float | None = None) -> Breaker:
    breaker = Breaker(TARGET, RULES)
    fail(breaker, now, kind, retry_after)
    assert breaker.is_out(now)
    return breaker


def probe(breaker: Breaker, now: float, error: ProviderError | None = None, took: float = 0.1) -> None:
    assert breaker.may_probe(now)
    breaker.begin_probe("me", now)
    breaker.probed(error, "me", now + took, started=now)


# -- when it opens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOON)
def test_three_failures_in_a_row_are_enough(breaker: Breaker, kind: ErrorKind) -> None:
    fail(breaker, 0, kind)
    fail(breaker, 1, kind)
    assert not breaker.is_out(1)
    fail(breaker, 2, kind)
    assert breaker.is_out(2) and breaker.rank(2) == 1 and breaker.kind == kind


@pytest.mark.parametrize("kind", AT_ONCE)
def test_what_no_turn_mends_is_enough_once(breaker: Breaker, kind: ErrorKind) -> None:
    fail(breaker, 0, kind)
    assert breaker.is_out(0)


@pytest.mark.parametrize("kind", NEVER)
def test_the_agents_own_faults_never_count(breaker: Breaker, kind: ErrorKind) -> None:
    for now in range(50):
        fail(breaker, now, kind)
    assert not breaker.is_out(50) and not breaker.is_news


def test_an_answer_between_failures_begins_anew(breaker: Breaker) -> None:
    for now in range(0, 400, 20):
        fail(breaker, now)
        fail(breaker, now)
        breaker.answered(now, started=now)
    assert not breaker.is_out(400)


def test_half_of_ten_attempts_are_enough(breaker: Breaker) -> None:
    for now in range(9):
        attempt(breaker, now, is_good=bool(now % 2))
    assert not breaker.is_out(8)
    fail(breaker, 9)
    assert breaker.is_out(9)


def test_failures_of_long_ago_do_not_count(breaker: Breaker) -> None:
    for now in range(0, 200, 10):
        attempt(breaker, now, is_good=bool(now % 20))
    assert not breaker.is_out(200)


def test_answers_that_break_off_count_as_failures(breaker: Breaker) -> None:
    for now in range(3):
        assert not breaker.is_out(now)
        break_off(breaker, now)
    assert breaker.is_out(2)


# -- silence that a provider asks for --------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "obeyed"), [(1, 1), (12.5, 12.5), (60, 60), (3600, 60)])
def test_the_asked_silence_is_kept(asked: float, obeyed: float) -> None:
    breaker = out_at(100, ErrorKind.RATE_LIMIT, asked)
    assert breaker.rank(100) == 2 and not breaker.may_probe(99.99 + obeyed) and breaker.may_probe(100 + obeyed)


@pytest.mark.parametrize("asked", [None, -5, 0, math.nan, math.inf, 1e12])
def test_an_absurd_silence_is_ignored(asked: float | None) -> None:
    breaker = out_at(100, ErrorKind.RATE_LIMIT, asked)
    assert breaker.wake == 100 + RULES.rest


def test_a_silence_is_kept_by_those_who_were_out_already() -> None:
    breaker = out_at(100)
    fail(breaker, 101, ErrorKind.RATE_LIMIT, 30)
    assert not breaker.may_probe(130.9) and breaker.may_probe(131)


def test_an_older_answer_does_not_break_the_silence() -> None:
    breaker = out_at(100, ErrorKind.RATE_LIMIT, 30)
    breaker.answered(100.5, started=99.8)
    assert breaker.rank(101) == 2


# -- how it closes ---------------------------------------------------------------------------------------


def test_a_good_probe_closes_it() -> None:
    breaker = out_at(100)
    assert not breaker.may_probe(106.4)
    probe(breaker, 107)
    assert breaker.rank(107.1) == 0 and breaker.is_news


def test_a_bad_probe_keeps_it_open() -> None:
    breaker = out_at(100)
    probe(breaker, 107, failing(ErrorKind.TIMEOUT), took=1.75)
    assert breaker.is_out(109) and breaker.kind == ErrorKind.TIMEOUT
    assert not breaker.may_probe(116.9) and breaker.may_probe(117)


def test_a_probe_that_is_refused_for_its_options_is_good() -> None:
    breaker = out_at(100)
    probe(breaker, 107, failing(ErrorKind.REQUEST))
    assert not breaker.is_out(108)


def test_a_turn_that_had_nobody_else_closes_it() -> None:
    breaker = out_at(100)
    breaker.answered(103, started=102)
    assert not breaker.is_out(103)


def test_after_a_probe_one_failure_is_enough() -> None:
    breaker = out_at(100)
    probe(breaker, 107)
    fail(breaker, 108)
    assert breaker.is_out(108)


def test_after_a_probe_two_good_turns_end_the_trial() -> None:
    breaker = out_at(100)
    probe(breaker, 107)
    breaker.answered(108, started=108)
    breaker.answered(109, started=109)
    fail(breaker, 110)
    assert not breaker.is_out(110)


def test_a_failure_from_before_the_recovery_is_old() -> None:
    breaker = out_at(100)
    probe(breaker, 107)
    breaker.failed(failing(ErrorKind.TIMEOUT), 108, started=106.5)
    assert not breaker.is_out(108)


def test_flapping_is_not_probed_more_often() -> None:
    breaker, begun, now = out_at(0), [], 0.0
    while now < 100:
        now += 0.25
        if breaker.may_probe(now):
            begun.append(now)
            probe(breaker, now)
            fail(breaker, now + 0.2)
    assert all(later - earlier >= 10 for earlier, later in zip(begun, begun[1:], strict=False)) and len(begun) >= 9


def test_an_outage_that_nobody_looks_after_lapses() -> None:
    breaker = out_at(100)
    assert breaker.is_out(226.4) and not breaker.is_out(226.5)
    assert breaker.lapse(226.5) and not breaker.lapse(227)
    fail(breaker, 227)
    assert breaker.is_out(227)


# -- what only people mend -------------------------------------------------------------------------------


def refused_for(seconds: float, kind: ErrorKind) -> tuple[Breaker, list[float]]:
    """Out since 0, and probed whenever that may be: every probe finds the same."""
    breaker, begun = out_at(0, kind), []
    while (due := breaker.wake) <= seconds:
        begun.append(due)
        probe(breaker, due, failing(kind))
    return breaker, begun


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.QUOTA])
def test_refused_keys_are_probed_less_and_less(kind: ErrorKind) -> None:
    _, begun = refused_for(1500, kind)
    assert begun == [6.5, 26.5, 66.5, 146.5, 306.5, 606.5, 906.5, 1206.5]


def test_a_wrong_key_is_refused_three_hundred_times_a_day() -> None:
    breaker, begun = refused_for(86_400, ErrorKind.AUTH)
    assert len(begun) < 300 and breaker.is_out(86_400)


@pytest.mark.parametrize("kind", sorted(set(ErrorKind) - {ErrorKind.AUTH, ErrorKind.QUOTA, *NEVER}))
def test_all_others_are_probed_every_ten_seconds(kind: ErrorKind) -> None:
    breaker = out_at(0)
    for due in (6.5, 16.5, 26.5, 36.5):
        assert breaker.may_probe(due)
        probe(breaker, due, failing(kind))


def test_another_fault_ends_the_backing_off() -> None:
    breaker, _ = refused_for(610, ErrorKind.AUTH)
    probe(breaker, breaker.wake, failing(ErrorKind.SERVER))
    assert breaker.may_probe(916.5) and not breaker.refusals


def test_after_an_answer_the_next_outage_is_probed_soon() -> None:
    breaker, _ = refused_for(610, ErrorKind.AUTH)
    breaker.answered(620, started=619)
    fail(breaker, 621, ErrorKind.REFUSED)
    assert breaker.is_out(621) and breaker.may_probe(630)


def test_other_workers_back_off_from_where_one_was() -> None:
    breaker, _ = refused_for(200, ErrorKind.AUTH)
    other = Breaker(TARGET, RULES)
    other.take(breaker.entry(200, by="me"), 1, 1000.0)
    assert not other.may_probe(1106.4) and other.is_out(1200)
    probe(other, 1106.5, failing(ErrorKind.AUTH))
    assert not other.may_probe(1406.4) and other.may_probe(1406.5)


def test_an_outage_is_kept_until_its_next_probe_is_missed() -> None:
    breaker, _ = refused_for(610, ErrorKind.AUTH)
    assert breaker.is_out(906.5 + 119) and not breaker.is_out(906.5 + 120)
    assert not breaker.entry(620, by="me").holds(906.5 + 120 - 620, RULES)
    assert breaker.entry(620, by="me").holds(906.5 + 119 - 620, RULES)
    assert RULES.kept >= 906.5 + 120 - 606.5


DEADLINES = Deadlines()
SLOWEST_FAILURE = max(
    DEADLINES.first_token + DEADLINES.stall,
    DEADLINES.first_audio + DEADLINES.stall,
    DEADLINES.transcript,
    DEADLINES.silence,
)
"""A stream may begin at the last moment, and then stand still."""


def test_it_is_back_within_twelve_seconds() -> None:
    assert RULES.back_within(SLOWEST_FAILURE) <= 11.75


@given(recovered=st.floats(0, 60), tick=st.floats(0.01, 0.2), fails_for=st.floats(0, RULES.probe))
def test_it_is_back_soon_whenever_it_recovers(recovered: float, tick: float, fails_for: float) -> None:
    """`recovered` seconds after the turn began that opens the breaker when it has failed."""
    breaker, now = out_at(SLOWEST_FAILURE), SLOWEST_FAILURE
    while breaker.is_out(now):
        now += tick
        if breaker.may_probe(now):
            is_well = now >= recovered
            probe(breaker, now, None if is_well else failing(ErrorKind.TIMEOUT), took=fails_for)
            now += fails_for
    assert now - recovered <= RULES.back_within(SLOWEST_FAILURE) + 2 * tick


# -- what is shared --------------------------------------------------------------------------------------


def test_the_key_tells_no_secret() -> None:
    model = ScriptedModel("first")
    model.credentials = Credentials("sk-secret", "https://example.com/v1")
    target = Target.of(model)
    assert target.key.startswith("llm.first.") and len(target.key) == len("llm.first.") + 20
    assert "secret" not in repr(target) and "example" not in repr(target)


def test_each_key_and_address_is_a_target() -> None:
    model, keys = ScriptedModel("first"), set()
    for credentials in (Credentials("a", "b"), Credentials("a", "c"), Credentials("b", "b"), Credentials("ab", "")):
        model.credentials = credentials
        keys |= {Target.of(model).key}
    assert len(keys) == 4


def test_each_set_of_headers_is_a_target() -> None:
    """One agent's wrong header does not put the endpoint last for the others."""

    def key(headers: dict[str, str]) -> str:
        options = CustomChat.Options(model="m", headers=headers)
        return Target.of(CustomChat(options, Credentials(base_url="http://localhost/v1"))).key

    assert len({key({}), key({"Authorization": "Bearer a"}), key({"Authorization": "Bearer b"})}) == 3
    assert key({"X-A": "1", "X-B": "2"}) == key({"x-b": "2", "x-a": "1"})


def test_another_worker_takes_the_entry() -> None:
    breaker, other = out_at(100), Breaker(TARGET, RULES)
    other.take(breaker.entry(102, by="one"), 1, 1002)
    assert other.is_out(1002) and other.out_since == 1000 and other.wake == 1006.5 and not other.is_news
    other.take(Entry(role="llm", provider="first"), 2, 1003)
    assert not other.is_out(1003)


def test_an_old_entry_is_taken_with_its_age() -> None:
    breaker, other = out_at(100), Breaker(TARGET, RULES)
    other.take(breaker.entry(100, by="one"), 1, 1000, age=6)
    assert other.wake == 1000.5


def test_an_older_revision_says_nothing() -> None:
    breaker, other = out_at(100), Breaker(TARGET, RULES)
    other.take(Entry(role="llm", provider="first"), 2, 1000)
    other.take(breaker.entry(100, by="one"), 1, 1000)
    assert not other.is_out(1000)


def test_a_later_entry_holds_against_own_news() -> None:
    breaker = out_at(100)
    breaker.take(Entry(role="llm", provider="first"), 1, 101)
    assert not breaker.is_out(101) and not breaker.is_news


def test_later_news_hold_against_an_entry() -> None:
    breaker = out_at(100)
    breaker.take(Entry(role="llm", provider="first", rest=9), 1, 101, age=1.5)
    assert breaker.is_out(101) and breaker.is_news and breaker.wake == 108.5


def test_own_entries_say_nothing_new() -> None:
    breaker = out_at(100)
    entry = breaker.entry(100, by="me")
    breaker.forget_revision()
    breaker.take(entry, 3, 101, is_mine=True)
    assert not breaker.is_news and breaker.revision == 3
    breaker.answered(102, started=101)
    breaker.take(entry, 4, 102, is_mine=True)
    assert breaker.is_news and not breaker.is_out(102)


def test_a_silence_asked_of_this_worker_is_added() -> None:
    breaker, theirs = out_at(100, ErrorKind.RATE_LIMIT, 30), out_at(100)
    breaker.take(theirs.entry(100, by="two"), 5, 101)
    assert breaker.rank(101) == 2 and breaker.is_news and breaker.revision == 5


def test_a_lost_bucket_is_told_again() -> None:
    breaker = out_at(100)
    breaker.wrote(breaker.version, 7)
    assert not breaker.is_news
    breaker.forget_revision()
    assert breaker.is_news and breaker.revision == 0


@dataclass
class Installation:
    """Workers with a shared entry that is written by compare-and-set; copies arrive when the test says so."""

    workers: Sequence[Breaker]
    log: list[tuple[Entry, float]] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)

    def write(self, worker: int, now: float) -> None:
        breaker = self.workers[worker]
        while breaker.is_news:
            if breaker.revision == len(self.log):
                self.log.append((breaker.entry(now, by=str(worker)), now))
                breaker.wrote(breaker.version, len(self.log))
            else:
                self.hear(worker, now)

    def hear(self, worker: int, now: float) -> None:
        if self.log:
            entry, stored = self.log[-1]
            breaker = self.workers[worker]
            breaker.take(entry, len(self.log), now, age=now - stored, is_mine=entry.by == str(worker))

    def probe(self, worker: int, now: float, error: ProviderError | None) -> None:
        breaker = self.workers[worker]
        if not breaker.may_probe(now):
            return
        breaker.begin_probe(str(worker), now)
        self.write(worker, now)
        if breaker.prober == str(worker):
            self.probes.append(now)
            breaker.probed(error, str(worker), now, started=now)
            self.write(worker, now)


steps = st.tuples(
    st.sampled_from(["refuse", "probe", "good probe", "limit", "fail", "answer", "hear"]),
    st.integers(0, 3),
    st.floats(0.1, 8),
)


@given(st.lists(steps, min_size=20, max_size=60))
def test_probes_of_all_workers_keep_their_distance(steps: list[tuple[str, int, float]]) -> None:
    now = 0.0
    installation = Installation([Breaker(TARGET, RULES) for _ in range(4)])
    for what, worker, later in steps:
        now += later
        breaker = installation.workers[worker]
        match what:
            case "fail":
                fail(breaker, now)
            case "refuse":
                fail(breaker, now, ErrorKind.REFUSED)
            case "limit":
                fail(breaker, now, ErrorKind.RATE_LIMIT, 3)
            case "answer":
                breaker.answered(now, started=now)
            case "hear":
                installation.hear(worker, now)
            case _:
                installation.probe(worker, now, None if what == "good probe" else failing(ErrorKind.SERVER))
        installation.write(worker, now)
    begun = installation.probes
    assert all(later - earlier >= 9.99 for earlier, later in zip(begun, begun[1:], strict=False))
