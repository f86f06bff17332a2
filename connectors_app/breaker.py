"""Which providers had better be asked last: a breaker for each target, with the time as an argument.

A target that keeps failing is out. It is then asked after all others, but never skipped, until somebody finds it well
again: a probe, which no caller waits for, or a turn that had nobody else to ask.
"""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import msgspec

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError

AT_ONCE = {ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.REFUSED}
"""No next turn mends these."""
MENDED_BY_PEOPLE = {ErrorKind.AUTH, ErrorKind.QUOTA}
"""No waiting mends these either, and who asks on and on with a wrong key may lose the account."""
NOT_ITS_FAULT = {ErrorKind.REQUEST, ErrorKind.UNCONFIGURED}
"""The agent's options, or a setting: the provider is well."""
ABSURD = 86_400.0
"""Seconds. Who asks for more than a day of silence has sent something else than seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds, except for `failures`, `attempts` and `share`."""

    failures: int = 3
    """In a row, and the target is out."""
    attempts: int = 10
    share: float = 0.5
    window: float = 30.0
    """Of at least `attempts` in the last `window`, so many failed, and the target is out."""
    rest: float = 6.5
    """Before the first probe."""
    between_probes: float = 10.0
    """From the beginning of a probe to the next one's, in the whole installation."""
    longest_between_probes: float = 300.0
    """For what people mend each refused probe doubles the time to the next, up to this: of a wrong key some 300
    refused questions a day instead of 8,640, and one that was mended where it was made is found in five minutes."""
    probe: float = 1.75
    """That a probe may take."""
    longest_hold: float = 60.0
    """That a provider is left alone because it asked for that."""
    patience: float = 120.0
    """After a probe might have begun and none did: nobody looks after that target, so the next turn finds out."""

    @property
    def kept(self) -> float:
        """That the shared entry of an outage is needed at the most."""
        return self.longest_between_probes + self.patience

    def next_probe(self, refusals: int) -> float:
        """From the beginning of a probe to the next one's, when so many in a row found what only people mend."""
        return min(self.between_probes * 2.0 ** min(refusals, 32), self.longest_between_probes)

    def back_within(self, slowest_failure: float) -> float:
        """From a recovery to the end of the outage, at the most, unless people had to mend it.

        `slowest_failure`: that an attempt can take.
        """
        return max(slowest_failure + self.rest, self.between_probes) + self.probe


@dataclass(frozen=True, slots=True)
class Target:
    """What fails and recovers together: a provider's model in one role, with one key at one address."""

    key: str
    """The name of its entry in the shared bucket; tells neither the key nor the address."""
    role: str
    provider: str
    label: str
    """The provider's, for people."""
    model: str = ""
    is_own: bool = False
    """With a workspace's own key."""

    @classmethod
    def of(cls, connector: Connector) -> Self:
        """Headers that an agent gives may be what it is let in by."""
        credentials = connector.credentials
        headers = {name.lower(): value for name, value in getattr(connector.options, "headers", {}).items()}
        told = [connector.model, credentials.api_key, credentials.base_url, headers]
        secret = json.dumps(told, sort_keys=True)
        key = f"{connector.role}.{connector.slug}.{sha256(secret.encode()).hexdigest()[:20]}"
        return cls(key, connector.role, connector.slug, connector.label, connector.model, credentials.is_own)


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A target's state as the workers share it. Spans instead of times: it is read beside other clocks."""

    role: str
    provider: str
    label: str = ""
    model: str = ""
    is_own: bool = False
    is_out: bool = False
    kind: str = ""
    detail: str = ""
    out: float = 0.0
    """Seconds since the outage began."""
    rest: float = 0.0
    """Seconds in which nobody probes."""
    prober: str = ""
    """The worker that probes right now. Nobody else does before `rest` is over."""
    refusals: int = 0
    """Probes in a row that found what only people mend."""
    by: str = ""
    """The worker that wrote this."""
    count: int = 0
    """Of that worker's words on this target."""

    def holds(self, age: float, rules: Rules) -> bool:
        """It is out, and somebody has looked after that, or would not have to yet. `age`: since it was written."""
        return self.is_out and age < self.rest + rules.patience

    @property
    def is_silence(self) -> bool:
        """The provider has asked to be left alone for `rest`."""
        return self.is_out and self.kind == ErrorKind.RATE_LIMIT and not self.prober


class Breaker:
    """One target's. What a worker counts is its own; that the target is out, is shared."""

    def __init__(self, target: Target, rules: Rules) -> None:
        self.target = target
        self._rules = rules
        self.kind = ""
        self.detail = ""
        self.out_since = -math.inf
        self.prober = ""
        self.wake = -math.inf
        """Nobody probes before."""
        self.refusals = 0
        self._silent_until = -math.inf
        """The provider has asked for that."""
        self.revision = 0
        """Of the shared entry that is the last one known; 0: there is none."""
        self.version = self._written = 0
        self._is_out = False
        self._bad_news_at = -math.inf
        self._well_at = -math.inf
        self._word_at = -math.inf
        self._found_at = -math.inf
        self._found = 0
        """When, and with which version, this worker itself last found the target to be out or well."""
        self._failures = 0
        self._is_answering = False
        """The last attempt began to answer, but may still break off."""
        self._attempts: deque[tuple[float, bool]] = deque()

    # -- what it says -------------------------------------------------------------------------------------

    def is_out(self, now: float) -> bool:
        return self._is_out and now < max(self._word_at, self.wake) + self._rules.patience

    def rank(self, now: float) -> int:
        """In which order targets are asked: those that are well, those that are out, those that asked for silence."""
        if not self._is_out or not self.is_out(now):
            return 0
        return 2 if self.is_silenced(now) else 1

    def may_probe(self, now: float) -> bool:
        return self.is_out(now) and now >= self.wake

    @property
    def is_news(self) -> bool:
        """This worker knows something that the shared entry does not say."""
        return self.version != self._written

    def lapse(self, now: float) -> bool:
        """Whether nobody has looked after this outage for too long: the next turn finds out, on trial."""
        if not self._is_out or self.is_out(now):
            return False
        self._is_out = False
        self._written = self.version
        self._put_on_trial()
        return True

    def is_silenced(self, now: float) -> bool:
        """The provider has asked to be left alone, and its time is not over."""
        return now < self._silent_until

    def is_left_alone(self, now: float) -> bool:
        """Nobody asks it but its probes, and turns: it has asked for that, or only people mend it."""
        return self.is_silenced(now) or (self.kind in MENDED_BY_PEOPLE and self.is_out(now))

    # -- attempts -----------------------------------------------------------------------------------------

    def answered(self, now: float, *, started: float) -> None:
        """An attempt of a turn, begun at `started`, has begun to answer."""
        if self._is_answering:
            self._failures = 0
        self._is_answering = True
        self._count(now, True)
        if self._is_out and started >= self._bad_news_at:
            self._close(now)

    def failed(self, error: ProviderError, now: float, *, started: float, midway: bool = False) -> None:
        """An attempt of a turn failed; `midway`: it had begun to answer."""
        if error.kind in NOT_ITS_FAULT:
            return
        if error.kind is ErrorKind.RATE_LIMIT:
            self._hold(error, now)
            return
        if started < self._well_at:  # it has recovered since
            return
        self._count_failure(now, midway)
        if not self.is_out(now) and (error.kind in AT_ONCE or self._fails_too_often(now)):
            self._open(error, now, self._rules.rest)

    def _count_failure(self, now: float, midway: bool) -> None:
        if self._is_answering and midway:
            self._uncount_answer()
        elif self._is_answering:
            self._failures = 0
        self._is_answering = False
        self._failures += 1
        self._count(now, False)

    def _count(self, now: float, is_good: bool) -> None:
        self._attempts.append((now, is_good))
        while self._attempts[0][0] <= now - self._rules.window:
            self._attempts.popleft()

    def _uncount_answer(self) -> None:
        for place in range(len(self._attempts) - 1, -1, -1):
            if self._attempts[place][1]:
                del self._attempts[place]
                return

    def _fails_too_often(self, now: float) -> bool:
        if self._failures >= self._rules.failures:
            return True
        bad = sum(not is_good for _, is_good in self._attempts)
        return len(self._attempts) >= self._rules.attempts and bad >= len(self._attempts) * self._rules.share

    def _hold(self, error: ProviderError, now: float) -> None:
        rest = self._silence(error)
        self._silent_until = max(self._silent_until, now + rest)
        self._open(error, now, rest)

    def _silence(self, error: ProviderError) -> float:
        asked = error.retry_after
        return min(asked, self._rules.longest_hold) if asked and 0 < asked <= ABSURD else self._rules.rest

    def _open(self, error: ProviderError, now: float, rest: float) -> None:
        if not self.is_out(now):
            self.out_since = now
            self.prober = ""
        self._is_out = True
        self.refusals = 0
        self._bad_news_at = now
        self.kind, self.detail = error.kind, error.message
        self.wake = max(self.wake, now + rest)
        self._say_found(now)

    def _close(self, now: float) -> None:
        self._is_out = False
        self._well_at = now
        self._silent_until = -math.inf
        self.wake = min(self.wake, now + self._rules.between_probes)
        self.refusals = 0
        self.kind = self.detail = self.prober = ""
        self._attempts.clear()
        self._say_found(now)

    def _say(self, now: float) -> None:
        self._word_at = now
        self.version += 1

    def _say_found(self, now: float) -> None:
        self._say(now)
        self._found, self._found_at = self.version, now

    # -- probes -------------------------------------------------------------------------------------------

    def begin_probe(self, worker: str, now: float) -> None:
        self.prober = worker
        self.wake = now + self._rules.between_probes
        self._say(now)

    def probed(self, error: ProviderError | None, worker: str, now: float, *, started: float) -> None:
        """A probe of this worker has ended. After a good one the target is on trial: its next failure is enough."""
        if not self._is_out:
            return
        if error is None or error.kind in NOT_ITS_FAULT:
            if started >= self._bad_news_at:
                self._close(now)
                self._put_on_trial()
        elif self.prober == worker:
            self._go_on(error, now, started)

    def _go_on(self, error: ProviderError, now: float, started: float) -> None:
        self.prober = ""
        self.refusals = self.refusals + 1 if error.kind in MENDED_BY_PEOPLE else 0
        self.kind, self.detail = error.kind, error.message
        if error.kind is ErrorKind.RATE_LIMIT:
            self._silent_until = now + self._silence(error)
        self.wake = max(self.wake, self._silent_until, started + self._rules.next_probe(self.refusals))
        self._say_found(now)

    def _put_on_trial(self) -> None:
        self._failures = self._rules.failures - 1
        self._is_answering = False

    # -- what is shared -----------------------------------------------------------------------------------

    def entry(self, now: float, *, by: str) -> Entry:
        target = self.target
        return Entry(
            role=target.role,
            provider=target.provider,
            label=target.label,
            model=target.model,
            is_own=target.is_own,
            is_out=self._is_out,
            kind=self.kind,
            detail=self.detail,
            out=max(0.0, now - self.out_since) if self._is_out else 0.0,
            rest=max(0.0, self.wake - now) if math.isfinite(self.wake) else 0.0,
            prober=self.prober,
            refusals=self.refusals,
            by=by,
            count=self.version,
        )

    def wrote(self, version: int, revision: int) -> None:
        """What this worker knew as of `version` is the shared entry now."""
        self._written = max(self._written, version)
        self.revision = max(self.revision, revision)

    def forget_revision(self) -> None:
        """The shared entry is gone; what is out must be said again."""
        self.revision = 0
        if self._is_out:
            self._written = -1

    def take(self, entry: Entry, revision: int, now: float, *, age: float = 0.0, is_mine: bool = False) -> None:
        """The shared entry, as it was written `age` seconds ago."""
        if revision <= self.revision:
            return
        self.revision = revision
        stored = now - age
        if is_mine:  # what has happened since is known here
            self._written = max(self._written, entry.count)
        elif self._holds_against(entry, stored, now):
            self.wake = max(self.wake, min(stored + entry.rest, now + self._rules.between_probes))
        else:
            self._adopt(entry, stored)
            self._written = self.version

    def _holds_against(self, entry: Entry, stored: float, now: float) -> bool:
        """What this worker has found out since then is written on top, and a silence that is longer than theirs."""
        if self._found <= self._written:
            return False
        if self.is_silenced(now):
            return not (entry.is_out and self._silent_until <= stored + entry.rest)
        return self._found_at > stored and not entry.is_silence

    def _adopt(self, entry: Entry, stored: float) -> None:
        was_out, self._is_out = self._is_out, entry.is_out
        self.kind, self.detail, self.prober = entry.kind, entry.detail, entry.prober
        self.wake, self.refusals = stored + entry.rest, entry.refusals
        self._silent_until = self.wake if entry.is_silence else -math.inf
        self._word_at = stored
        if entry.is_out:
            self.out_since = stored - entry.out
            self._bad_news_at = max(self._bad_news_at, stored) if was_out else stored
        elif was_out:
            self._well_at = stored
            self._attempts.clear()
            self._put_on_trial()


class Breakers:
    """Those of a process, by the target's key."""

    def __init__(self, rules: Rules | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = rules or Rules()
        self.clock = clock
        self.worker = ""
        """Who writes what this process finds out."""
        self.on_change: Callable[[Breaker], None] = lambda breaker: None
        """Called when what a breaker says has changed, whoever found out."""
        self._by_key: dict[str, Breaker] = {}

    def __iter__(self) -> Iterator[Breaker]:
        return iter(tuple(self._by_key.values()))

    def of(self, target: Target) -> Breaker:
        if target.key not in self._by_key:
            self._by_key[target.key] = Breaker(target, self.rules)
        return self._by_key[target.key]

    def out(self) -> list[Breaker]:
        now = self.clock()
        return [breaker for breaker in self if breaker.is_out(now)]

    def keep(self, keys: Set[str], now: float) -> None:
        """Forget all others, except those that are out: who asks them next should know."""
        self._by_key = {key: kept for key, kept in self._by_key.items() if key in keys or kept.is_out(now)}

    def take(self, key: str, entry: Entry, revision: int, *, age: float = 0.0) -> None:
        breaker = self.of(Target(key, entry.role, entry.provider, entry.label, entry.model, entry.is_own))
        breaker.take(entry, revision, self.clock(), age=age, is_mine=entry.by == self.worker)
        self.on_change(breaker)

    @contextmanager
    def telling(self, breaker: Breaker) -> Iterator[None]:
        before = breaker.version
        yield
        if breaker.version != before:
            self.on_change(breaker)
