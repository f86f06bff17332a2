"""Asks providers whether a key works, apart from everything else, and says in plain words what came of it."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Connector, Credentials, Door, Options, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.failures import late
from connectors_app.pool import unexpected

TRIAL_SECONDS = 10.0
"""For all questions together: who pressed the button waits for them."""
SHORTEST_SECRET = 8
"""Letters. Servers without keys are given words such as “ollama”, which stand in sentences too."""

PARTS: Mapping[Role | Door, str] = {
    Role.STT: "hearing",
    Role.LLM: "thinking",
    Role.TTS: "speaking",
    Door.TRANSPORT: "rooms",
}
ADVICE = {
    ErrorKind.AUTH: "Copy the key once more, and look at the provider whether it still holds and what it may do.",
    ErrorKind.QUOTA: "Look at the account's credit at the provider.",
    ErrorKind.RATE_LIMIT: "The key itself is accepted. Try again in a minute.",
    ErrorKind.SERVER: "That is not the key's fault. Try again later.",
    ErrorKind.TIMEOUT: "Try again; if it stays so, see whether this machine reaches the provider's address.",
    ErrorKind.BROKEN: "Is it really this provider that answers at the address?",
    ErrorKind.REQUEST: "Is it really this provider that answers at the address?",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    works: bool
    said: str
    """In plain words, without a key."""
    ms: int = 0
    """Until the slowest answer."""
    was_asked: bool = False
    """The provider; else there was no need, or something is missing."""


@dataclass(frozen=True, slots=True)
class _Answer:
    parts: tuple[str, ...]
    """What the provider does with it."""
    labels: tuple[str, ...]
    ms: int
    error: ProviderError | None


def try_provider(slug: str, settings: Mapping[str, str], *, is_own: bool, within: float = TRIAL_SECONDS) -> Outcome:
    """Ask every provider that goes by the credential of this slug its cheapest question, with these settings.

    It blocks, and so is for a thread without an event loop: SDKs are imported and names are looked up here.
    """
    classes = registry.going_by(slug)
    label = _label(slug, classes)
    if not classes:
        return Outcome(False, f"This version has no provider “{slug}”.")
    if not any(cls.key_setting or cls.base_url_setting for cls in classes):
        return Outcome(True, f"{label} works on this machine and needs no key.")
    if missing := dict.fromkeys(name for cls in classes for name in cls.missing_settings(settings)):
        return Outcome(False, f"{label} cannot be asked before {' and '.join(missing)} is set.")
    problems = {name: why for cls in classes for name, why in cls.wrong_settings(settings).items()}
    if wrong := registry.say_wrong(problems):
        return Outcome(False, f"{label} cannot be asked: {wrong}.")
    groups = _by_question([_made(cls, settings, is_own) for cls in classes])
    answers = _apart(_ask_all(groups, within))
    return _without_key(_told(label, answers), [one.credentials for group in groups for one in group])


# -- asking ----------------------------------------------------------------------------------------------


def _made(cls: type[Connector], settings: Mapping[str, str], is_own: bool) -> Connector:
    return cls(_least_options(cls), replace(cls.credentials_from(settings), is_own=is_own))


def _least_options(cls: type[Connector]) -> Options:
    """What a provider cannot do without is a document's to say, and the question whether a key works has none of it."""
    try:
        return cls.Options()
    except ValidationError:
        return cls.Options.model_construct()


def _by_question(connectors: Sequence[Connector]) -> list[list[Connector]]:
    """Those that would ask the same are asked once."""
    groups: dict[tuple[object, Credentials], list[Connector]] = {}
    for connector in connectors:
        groups.setdefault((type(connector).check, connector.credentials), []).append(connector)
    return list(groups.values())


async def _ask_all(groups: Sequence[Sequence[Connector]], within: float) -> list[_Answer]:
    return await asyncio.gather(*(_ask(group, within) for group in groups))


async def _ask(group: Sequence[Connector], within: float) -> _Answer:
    parts = tuple(dict.fromkeys(PARTS[connector.role] for connector in group))
    started = time.monotonic()
    error = await _failure(group[0], within)
    labels = tuple(dict.fromkeys(connector.label for connector in group))
    return _Answer(parts, labels, round((time.monotonic() - started) * 1000), error)


async def _failure(connector: Connector, within: float) -> ProviderError | None:
    try:
        async with asyncio.timeout(within):
            try:
                await connector.check()
            finally:
                await connector.close()
    except ProviderError as error:
        return error
    except TimeoutError:
        return late(connector)
    except ImportError as error:
        what = f"{connector.label} needs the package {error.name}, which is not installed where MeshAG runs"
        return ProviderError(ErrorKind.UNCONFIGURED, what)
    except Exception as error:  # noqa: BLE001
        return unexpected(error)
    return None


def _apart(questions: Coroutine[Any, Any, list[_Answer]]) -> list[_Answer]:
    """In a loop of its own, so that nothing else waits. Who is still looking a name up afterwards is not waited for."""
    loop = asyncio.new_event_loop()
    try:
        answers = loop.run_until_complete(questions)
        loop.run_until_complete(loop.shutdown_asyncgens())
        return answers
    finally:
        loop.close()


# -- telling ---------------------------------------------------------------------------------------------


def _label(slug: str, classes: Sequence[type[Connector]]) -> str:
    return next((cls.label for cls in classes if cls.slug == slug), classes[0].label if classes else slug)


def _told(label: str, answers: Sequence[_Answer]) -> Outcome:
    ms = max(answer.ms for answer in answers)
    good = [answer for answer in answers if not answer.error]
    bad = _by_failure(answers)
    if not bad:
        return Outcome(True, f"It works: {label} accepts it for {_for(good)}.", ms, True)
    if not good and len(bad) == 1:
        return Outcome(False, _say(bad[0][1]), ms, True)
    is_split = bool(_parts(good) & _parts(answer for answer in answers if answer.error))
    works = [f"It works for {_for(good, named=is_split)}."] if good else []
    fails = [f"For {_for(failed, named=is_split)}: {_say(error)}" for failed, error in bad]
    return Outcome(False, " ".join([*works, *fails]), ms, True)


def _by_failure(answers: Sequence[_Answer]) -> list[tuple[list[_Answer], ProviderError]]:
    """What fails in the same way is told once."""
    found: dict[tuple[ErrorKind, int | None], tuple[list[_Answer], ProviderError]] = {}
    for answer in answers:
        if answer.error:
            failed, _ = found.setdefault((answer.error.kind, answer.error.status), ([], answer.error))
            failed.append(answer)
    return list(found.values())


def _parts(answers: Iterable[_Answer]) -> set[str]:
    return {part for answer in answers for part in answer.parts}


def _for(answers: Sequence[_Answer], *, named: bool = False) -> str:
    """`named`: with the providers, where one of them does the same with another outcome."""
    parts = _and([part for answer in answers for part in answer.parts])
    return f"{parts} ({_and([label for answer in answers for label in answer.labels])})" if named else parts


def _say(error: ProviderError) -> str:
    end = "?" if error.message.endswith("?") else "."
    sentence = error.message[:1].upper() + error.message[1:].rstrip(".?") + end
    return " ".join(filter(None, (sentence, ADVICE.get(error.kind, ""))))


def _and(words: Sequence[str]) -> str:
    words = list(dict.fromkeys(words))
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _without_key(outcome: Outcome, credentials: Sequence[Credentials]) -> Outcome:
    """Whatever a provider answers, no key of ours is repeated. What is shorter than a word guards nothing."""
    said = outcome.said
    for key in {one.api_key for one in credentials if len(one.api_key) >= SHORTEST_SECRET}:
        said = said.replace(key, "…")
    return replace(outcome, said=said)
