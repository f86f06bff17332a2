"""Whether a key works, asked of stand-ins: what is asked, what is said, and what is never said."""

import asyncio
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Connector, Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.failures import late
from connectors_app.trials import Outcome, try_provider
from tests.providers.azure import AZURE_VOICES
from tests.providers.deepgram import DEEPGRAM_PROJECTS
from tests.providers.nowhere import NO_PORT
from tests.providers.openai import OPENAI_MODELS
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault


async def tried(slug: str, settings: dict[str, str], **how: Any) -> Outcome:
    """As a request's thread does it."""
    return await asyncio.to_thread(try_provider, slug, settings, **{"is_own": True, **how})


@pytest.mark.parametrize("slug", registry.with_credentials())
async def test_a_good_key_works(slug: str, environ: dict[str, str]) -> None:
    outcome = await tried(slug, environ)
    assert outcome.works and outcome.said.startswith("It works: "), outcome


async def test_what_would_ask_the_same_is_asked_once(environ: dict[str, str], stand_ins: StandIns) -> None:
    outcome = await tried("deepgram", environ)
    assert outcome.said == "It works: Deepgram accepts it for hearing and speaking."
    assert len(stand_ins.requests_to(DEEPGRAM_PROJECTS)) <= 2 and outcome.ms < 5000


async def test_a_refused_key_is_told_with_the_fix(environ: dict[str, str]) -> None:
    outcome = await tried("openai", {**environ, "OPENAI_API_KEY": "sk-revoked"})
    assert not outcome.works and "sk-revoked" not in outcome.said
    assert outcome.said.startswith("OpenAI does not accept the key in the workspace's credential (401")
    assert "Copy the key once more" in outcome.said
    of_all = await tried("openai", {**environ, "OPENAI_API_KEY": "sk-revoked"}, is_own=False)
    assert "the key in OPENAI_API_KEY" in of_all.said


async def test_what_works_and_what_not_is_told_apart(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(AZURE_VOICES, Behaviour(fault=Fault.REFUSE, status=503))
    outcome = await tried("azure", environ)
    assert not outcome.works and outcome.said.startswith(
        "It works for hearing. For speaking: Azure Speech has an error"
    )
    assert "That is not the key's fault." in outcome.said


async def test_a_silent_provider_is_given_up(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(OPENAI_MODELS, Behaviour(fault=Fault.NEVER))
    outcome = await tried("openai", environ, within=0.3)
    assert not outcome.works and outcome.said.startswith("OpenAI did not answer in time.") and outcome.ms < 3000


async def test_a_wrong_address_is_told(environ: dict[str, str]) -> None:
    outcome = await tried("openai", {**environ, "OPENAI_BASE_URL": NO_PORT})
    assert outcome.said == "No connection to OpenAI: nothing listens there; is its address right and reachable?"


@pytest.mark.parametrize(
    ("slug", "works", "said"),
    [
        ("espeak", True, "eSpeak NG (offline) works on this machine and needs no key."),
        ("nobody", False, "This version has no provider “nobody”."),
        ("azure", False, "Azure Speech cannot be asked before AZURE_SPEECH_KEY and AZURE_SPEECH_REGION is set."),
    ],
)
def test_who_cannot_be_asked_is_told(slug: str, works: bool, said: str) -> None:
    assert try_provider(slug, {}, is_own=True) == Outcome(works, said)


@pytest.mark.parametrize(
    ("slug", "settings", "wrong"),
    [
        ("azure", {"AZURE_SPEECH_REGION": "West Europe"}, "_REGION does not look like the region: such as westeurope"),
        ("openai", {"OPENAI_BASE_URL": "api.openai.com/v1"}, "OPENAI_BASE_URL must begin with https:// or http://"),
    ],
)
async def test_a_setting_that_cannot_be_is_told(
    slug: str, settings: dict[str, str], wrong: str, environ: dict[str, str], stand_ins: StandIns
) -> None:
    outcome = await tried(slug, {**environ, **settings})
    assert not outcome.works and " cannot be asked: " in outcome.said and f"{wrong}." in outcome.said
    assert not stand_ins.requests


async def test_a_region_that_is_not_there_is_named() -> None:
    cls = registry.get(Role.STT, "azure")
    connector = cls(cls.Options(), Credentials("key", "https://nowhere.stt.speech.invalid"))
    with pytest.raises(ProviderError, match="no such host; is AZURE_SPEECH_REGION right and reachable"):
        await connector.check()
    await connector.close()


async def test_a_missing_package_is_named(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(self: object) -> None:
        raise ModuleNotFoundError("No module named 'anthropic'", name="anthropic")

    monkeypatch.setattr(registry.get(Role.LLM, "anthropic"), "check", check)
    assert "needs the package anthropic, which is not installed" in (await tried("anthropic", environ)).said


async def test_a_key_in_an_answer_is_not_repeated(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(self: Any) -> None:
        raise ProviderError(ErrorKind.AUTH, f"no such key: {self.credentials.api_key}")

    monkeypatch.setattr(registry.get(Role.LLM, "anthropic"), "check", check)
    outcome = await tried("anthropic", {**environ, "ANTHROPIC_API_KEY": "sk-secret"})
    assert outcome.said.startswith("No such key: ….") and "sk-secret" not in outcome.said


async def test_a_short_key_leaves_words_alone(environ: dict[str, str]) -> None:
    """Local servers are given such a key, where they want one."""
    outcome = await tried("custom", {**environ, "CUSTOM_API_KEY": "work"})
    assert outcome.said.startswith("It works: Custom endpoint accepts it")


async def test_who_does_the_same_otherwise_is_named(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(self: Connector) -> None:
        raise late(self)

    monkeypatch.setattr(registry.get(Role.STT, "openai_realtime"), "check", check)
    outcome = await tried("openai", environ)
    works = "It works for thinking, hearing and speaking (OpenAI and OpenAI Responses). "
    assert outcome.said.startswith(f"{works}For hearing (OpenAI realtime): OpenAI realtime did not answer")
