"""Finding providers and checking a document's connectors."""

import re
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from connectors_app import providers, registry
from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Credentials, Options, Role
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool
from connectors_app.base.recognizer import Recognizer
from connectors_app.base.voice import Voice
from connectors_app.pool import Pool
from connectors_app.registry import DuplicateConnector, check_connectors, options_by_provider
from tests.connectors_app.fakes import Told

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-provider.md"


class NewOptions(Options):
    warmth: float = Field(0.5, ge=0, le=1)


class NewProvider(LanguageModel):
    slug = "newprovider"
    label = "New provider"
    key_setting = "NEWPROVIDER_API_KEY"
    Options: ClassVar[type[NewOptions]] = NewOptions

    async def check(self) -> None: ...

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        yield "never asked"


@pytest.fixture
def newprovider(monkeypatch: pytest.MonkeyPatch) -> type[NewProvider]:
    """A provider's file dropped into the folder, as the registry sees it."""
    found = {**registry._connectors(), (Role.LLM, "newprovider"): NewProvider}
    monkeypatch.setattr(registry, "_connectors", lambda: found)
    return NewProvider


def module_with(cls: type) -> types.ModuleType:
    module = types.ModuleType(cls.__module__)
    setattr(module, cls.__name__, cls)
    return module


def document(**roles: object) -> dict[str, object]:
    return roles


@pytest.mark.parametrize(
    ("role", "slugs"),
    [
        pytest.param(Role.STT, {"openai", "deepgram", "custom"}, marks=pytest.mark.accepts("M63")),
        pytest.param(Role.LLM, {"openai", "anthropic", "custom"}, marks=pytest.mark.accepts("M64")),
        pytest.param(Role.TTS, {"openai", "elevenlabs", "azure", "custom"}, marks=pytest.mark.accepts("M65")),
    ],
)
def test_the_documented_providers_are_found(role: Role, slugs: set[str]) -> None:
    assert slugs <= set(registry.names(role))


@pytest.mark.accepts("M105", "M106")
def test_a_dropped_in_file_is_found() -> None:
    assert registry.collect(iter([module_with(NewProvider)])) == {(Role.LLM, "newprovider"): NewProvider}


@pytest.mark.accepts("M105", "M106", "M107", "M108")
async def test_the_guides_example_is_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert example
    (tmp_path / "newprovider.py").write_text(example[1])
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    found = registry.collect(registry._modules(providers))
    monkeypatch.setattr(registry, "_connectors", lambda: found)
    chain = Pool({"NEWPROVIDER_API_KEY": "k"}).models(["newprovider"], {"newprovider": {"shout": True}})
    said = [item async for item in answer(chain, [Message("user", "hello")], Deadlines(), Told())]
    assert said == ["HELLO", Sentence("HELLO"), Finished()]


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateConnector, match="newprovider"):
        registry.collect(iter([module_with(NewProvider), module_with(NewProvider)]))


def test_a_broken_file_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_broken", {})
    (tmp_path / "broken_one.py").write_text("import an_sdk_that_is_not_there\n")
    (tmp_path / "whole_one.py").write_text("answer = 42\n")
    package = types.ModuleType("a_folder")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "a_folder", package)
    assert [module.__name__ for module in registry._modules(package)] == ["a_folder.whole_one"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import an_sdk_that_is_not_there", "the package an_sdk_that_is_not_there is not installed"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def half(:", "SyntaxError in line 1"),
        (
            "from connectors_app.base.voice import Voice\nclass Half(Voice):\n    slug = 'half'\n"
            "    async def check(self): ...\n    def open(self, rate): ...",
            "Half declares no label and no Options",
        ),
    ],
)
def test_a_broken_file_is_named(source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one.py").write_text(source)
    monkeypatch.setattr(registry, "_broken", {})
    package = types.ModuleType("a_folder")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "a_folder", package)
    monkeypatch.delitem(sys.modules, "a_folder.broken_one", raising=False)
    assert not list(registry._modules(package))
    assert why in registry.broken()["broken_one.py"]


def test_providers_of_one_account_share_a_credential() -> None:
    known = registry.with_credentials()
    assert known["openai"].label == "OpenAI"
    assert known.keys().isdisjoint({"openai_realtime", "openai_responses", "deepgram_flux"})
    assert {each.slug for each in registry.going_by("openai")} == {"openai", "openai_realtime", "openai_responses"}
    assert registry.credential_of("deepgram_flux") == "deepgram" and registry.credential_of("nobody") == "nobody"


def test_looking_for_providers_imports_no_sdk() -> None:
    sdks = "{'openai', 'anthropic', 'deepgram', 'elevenlabs', 'pocketsphinx', 'django'}"
    program = (
        f"import sys; from connectors_app import registry; registry.names('llm'); print({sdks} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(registry.UnknownConnector, match="openai"):
        registry.get(Role.LLM, "opanai")


@pytest.mark.accepts("M97")
def test_a_set_key_makes_a_provider_usable(newprovider: type[NewProvider]) -> None:
    assert "newprovider" in registry.usable(Role.LLM, {"NEWPROVIDER_API_KEY": "k"})
    assert registry.missing(Role.LLM, {})["newprovider"] == ("NEWPROVIDER_API_KEY",)


@pytest.mark.accepts("M91")
def test_elevenlabs_is_usable_iff_its_key_is_set() -> None:
    assert "elevenlabs" in registry.usable(Role.TTS, {"ELEVENLABS_API_KEY": "k"})
    assert "elevenlabs" not in registry.usable(Role.TTS, {"ELEVENLABS_API_KEY": ""})


@pytest.mark.accepts("M92", "M93")
@pytest.mark.parametrize(
    "environ",
    [
        {"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_REGION": "westus"},
        {"AZURE_API_KEY": "k", "AZURE_REGION": "westus"},
        {"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_BASE_URL": "http://127.0.0.1:1"},
    ],
)
def test_azure_needs_a_key_and_a_place(environ: dict[str, str]) -> None:
    assert "azure" in registry.usable(Role.TTS, environ)
    assert registry.missing(Role.TTS, {"AZURE_SPEECH_KEY": "k"})["azure"] == ("AZURE_SPEECH_REGION",)


def test_a_custom_endpoint_needs_no_key() -> None:
    environ = {"CUSTOM_BASE_URL": "http://127.0.0.1:1/v1"}
    assert all("custom" in registry.usable(role, environ) for role in Role)


@pytest.mark.accepts("M104", "M107")
async def test_each_role_has_its_abstract_base(newprovider: type[NewProvider]) -> None:
    pool = Pool({"NEWPROVIDER_API_KEY": "k"})
    (connector,) = pool.models(["newprovider"], {"newprovider": {"warmth": 1}}).connectors
    assert isinstance(connector, NewProvider) and connector.options == NewOptions(warmth=1)
    assert connector.credentials == Credentials("k") and {cls.role for cls in (Recognizer, Voice)} == {"stt", "tts"}


def test_spaces_around_a_key_do_no_harm() -> None:
    environ = {"OPENAI_API_KEY": " k\n", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1/ "}
    assert registry.get(Role.LLM, "openai").credentials_from(environ) == Credentials("k", "http://127.0.0.1:1/v1")


# -- checking a document ---------------------------------------------------------------------------------


def test_a_wrong_name_is_a_problem() -> None:
    (problem,) = check_connectors(document(llm={"primary": "openai", "fallback": ["antropic"]}))
    assert problem.path == "connectors.llm.fallback[0]"
    assert "antropic" in problem.message and "anthropic" in problem.message


def test_an_option_out_of_range_is_a_problem() -> None:
    config = {"elevenlabs": {"stability": 7}}
    (problem,) = check_connectors(document(tts={"primary": "elevenlabs", "config": config}))
    assert problem.path == "connectors.tts.config.elevenlabs.stability"
    assert problem.message == "input should be less than or equal to 1"


def test_an_unknown_option_lists_the_known() -> None:
    config = {"openai": {"tempersture": 1}}
    (problem,) = check_connectors(document(llm={"primary": "openai", "config": config}))
    assert problem.path == "connectors.llm.config.openai.tempersture"
    assert "temperature" in problem.message and "max_tokens" in problem.message


@pytest.mark.accepts("M10")
def test_a_flat_config_is_the_primarys() -> None:
    (problem,) = check_connectors(document(llm={"primary": "openai", "config": {"temperature": 3}}))
    assert problem.path == "connectors.llm.config.temperature"
    assert options_by_provider(["openai", "anthropic"], {"model": "gpt-4o"}) == {"openai": {"model": "gpt-4o"}}


@pytest.mark.accepts("M54")
def test_too_many_entries_are_told_plainly() -> None:
    (problem,) = check_connectors(document(llm={"primary": "openai", "config": {"stop": list("abcde")}}))
    assert str(problem.message) == "may have 4 entries at most, not 5"


def test_options_of_other_providers_may_wait() -> None:
    config = {"openai": {}, "anthropic": {"max_tokens": 10}}
    assert check_connectors(document(llm={"primary": "openai", "config": config})) == []


def test_options_of_no_provider_are_a_problem() -> None:
    (problem,) = check_connectors(document(llm={"primary": "openai", "config": {"opanai": {}}}))
    assert problem.path == "connectors.llm.config.opanai"


def test_options_must_be_an_object() -> None:
    (problem,) = check_connectors(document(llm={"primary": "openai", "config": {"openai": "gpt-4o"}}))
    assert problem.message == "must be an object with options of openai"
