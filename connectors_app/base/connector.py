"""What a provider is: its role, options and credentials. Beside this: its errors, and an abstract class for each role.

A provider speaks its protocol and nothing else. The runner owns deadlines, fallback and metrics; the worker owns
sessions, turns and events. A provider raises `ProviderError` and no other error, `from None` where the cause may hold
a key. SDKs are imported inside `warm()` or the method that needs them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from connectors_app.addresses import address_problem

PROBE_RATE = 16_000


class Role(StrEnum):
    STT = "stt"
    LLM = "llm"
    TTS = "tts"


class Door(StrEnum):
    """By which callers come in: no part of a turn, and so neither a worker's nor one with a fallback."""

    TRANSPORT = "transport"


class Options(BaseModel):
    """A provider's options for one role, declared with ranges and help texts (`Field(ge=…, description=…)`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyOptions = Options
"""The same class under a name that `Connector.Options` does not shadow."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a provider needs besides its key and address, such as a region."""

    name: str
    """As in the environment."""
    label: str
    pattern: str
    """What the whole value must look like: it may become a part of an address."""
    help: str = ""

    @property
    def doubt(self) -> str:
        """What is said of a value that does not fit, after the setting's name."""
        label, example = (text[:1].lower() + text[1:] for text in (self.label, self.help.rstrip(".")))
        return f"does not look like the {label}{f': {example}' if example else ''}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """From the environment, or a workspace's own. `base_url` has no trailing slash."""

    api_key: str = field(default="", repr=False)
    base_url: str = ""
    is_own: bool = False
    """A workspace's, from the database."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A workspace's own credentials as they travel, each sealed for its workspace and provider.

    An empty one stands for a credential that the document names and the workspace does not have.
    """

    workspace: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """By provider."""


class Connector(ABC):
    """One provider in one role, with its options. Made once for each (provider, options) and shared by sessions."""

    slug: ClassVar[str]
    label: ClassVar[str]
    role: ClassVar[Role | Door]
    Options: ClassVar[type[AnyOptions]]
    key_setting: ClassVar[str] = ""
    """The environment name of the key; empty: needs none."""
    base_url_setting: ClassVar[str] = ""
    default_base_url: ClassVar[str] = ""
    example_base_url: ClassVar[str] = ""
    """What the address looks like, where there is no default."""
    more_settings: ClassVar[tuple[Setting, ...]] = ()
    credential_slug: ClassVar[str] = ""
    """The provider whose credential this one goes by, where both belong to one account; empty: its own."""
    is_for_workspaces: ClassVar[bool] = True
    """Whether a workspace may have a key of its own for it; else only the installation has one."""

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        self.options = options
        self.credentials = credentials

    @classmethod
    def goes_by(cls) -> str:
        """The slug of its credential."""
        return cls.credential_slug or cls.slug

    @property
    def address_setting(self) -> str:
        """The environment name of what made the address."""
        return self.base_url_setting

    @property
    def model(self) -> str:
        """What the usage record names; empty where the provider has no models."""
        return str(getattr(self.options, "model", ""))

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Environment names that must be set before this provider can be used."""
        if cls.key_setting and not environ.get(cls.key_setting):
            return (cls.key_setting,)
        return ()

    @classmethod
    def wrong_settings(cls, environ: Mapping[str, str]) -> dict[str, str]:
        """What is set and cannot be right, by environment name, in words that follow the name."""
        found = {}
        address = environ.get(cls.base_url_setting, "").strip() if cls.base_url_setting else ""
        if address and (problem := address_problem(address)):
            found[cls.base_url_setting] = problem
        for setting in cls.more_settings:
            value = environ.get(setting.name, "").strip()
            if value and not re.fullmatch(setting.pattern, value):
                found[setting.name] = setting.doubt
        return found

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        base_url = environ.get(cls.base_url_setting, "") if cls.base_url_setting else ""
        key = environ.get(cls.key_setting, "") if cls.key_setting else ""
        return Credentials(key.strip(), (base_url.strip() or cls.default_base_url).rstrip("/"))

    @classmethod
    def own_settings(cls, own: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
        """What a workspace's own credential says, and of the environment the address at most: never its key."""
        address = {cls.base_url_setting: environ.get(cls.base_url_setting, "")} if cls.base_url_setting else {}
        return address | {name: value for name, value in own.items() if value}

    async def warm(self) -> None:
        """Import the SDK, make the client, open what can be kept open; called before the first session."""

    @abstractmethod
    async def check(self) -> None:
        """A cheap question that shows that the key works; raises ProviderError. For /ready, never in a turn."""

    async def probe(self) -> None:
        """The smallest real piece of work, which shows that turns would be served again; raises ProviderError."""
        await self.check()

    async def close(self) -> None:
        """Close clients, sockets and subprocesses."""
