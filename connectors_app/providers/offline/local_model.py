"""Recognisers whose model lies in a folder of this machine, in a process of its own, which loads it once.

Their packages and models are none of MeshAG's: an operator installs them and names the model's folder.
"""

import json
import os
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from connectors_app.base.connector import AnyOptions, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognizer
from connectors_app.clients import Shared
from connectors_app.providers.offline.child import MODEL_SECONDS, Child, ChildGone, ChildRefused

MODEL_RATE = 16_000
"""That of the recordings which the models are made from."""


class LocalModelOptions(Options):
    model_path: str = Field(
        "",
        max_length=400,
        pattern=r"^[^\x00]*$",
        description="Folder of another model, beside the one that the installation names; empty: that one",
    )


class LocalRecognizer(Recognizer):
    package: ClassVar[str]
    """What is imported; `wheel` is its name for pip."""
    wheel: ClassVar[str]
    setting: ClassVar[str]
    """The environment name of the model's folder."""
    program: ClassVar[str]
    """The module that the process runs."""

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        assert isinstance(options, LocalModelOptions)
        self._own = Path(os.path.abspath(credentials.base_url)) if credentials.base_url else None
        self._folder = self._own
        if self._own and options.model_path:
            self._folder = Path(os.path.normpath(self._own.parent / options.model_path))
        self._is_found = False
        child = [self.program, str(self._folder or ""), *self.arguments(options)]
        super().__init__(options, Credentials(base_url=json.dumps(child)))

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return () if environ.get(cls.setting, "").strip() else (cls.setting,)

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        return Credentials(base_url=environ.get(cls.setting, "").strip())

    @classmethod
    @abstractmethod
    def arguments(cls, options: AnyOptions) -> tuple[str, ...]:
        """What the process must know to load the model, besides its folder."""

    @property
    def model(self) -> str:
        return self._folder.name if self._folder else ""

    async def warm(self) -> None:
        await self.check()

    @abstractmethod
    async def check(self) -> None:
        """The process has loaded the model, and can use it as the options want."""

    async def close(self) -> None:
        await MODELS.leave(self)

    async def ask(self, request: bytes) -> bytes:
        if not self._is_found:
            self._find()
        child = await MODELS.take(self)
        try:
            async with aclosing(child.ask(request)) as parts:
                return b"".join([part async for part in parts])
        except ChildRefused as refusal:
            raise ProviderError(ErrorKind.UNCONFIGURED, f"{self.label}: {refusal}") from None
        except ChildGone:
            raise ProviderError(ErrorKind.BROKEN, f"the process of {self.label} ended; it is started again") from None

    def _find(self) -> None:
        """Says what is to be installed, before a process is started in vain."""
        if find_spec(self.package) is None:
            why = f"{self.label} is not installed: pip install {self.wheel}"
            raise ProviderError(ErrorKind.UNCONFIGURED, f"{why}, and let {self.setting} name the folder of a model")
        if self._own is None or self._folder is None:
            raise ProviderError(
                ErrorKind.UNCONFIGURED, f"{self.label} has no model; let {self.setting} name its folder"
            )
        if not self._folder.is_dir() or self._own.parent not in self._folder.parents:
            where = "beside that of" if self._folder != self._own else "at"
            why = f"{self.label} finds no folder of a model {where} {self.setting}"
            raise ProviderError(ErrorKind.UNCONFIGURED, f"{why}; check the setting and `model_path`")
        self._is_found = True


async def _start(credentials: Credentials) -> Child:
    program, *arguments = json.loads(credentials.base_url)
    return Child(program, *arguments, patience=MODEL_SECONDS)


MODELS: Shared[Child] = Shared(_start, Child.close)
"""A process for each way of loading a model, for all sessions of a worker."""
