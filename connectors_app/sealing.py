"""Seals what must be kept or carried but not read on the way: provider keys at rest, in Valkey and on the bus."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mesh.environment import BadSetting, Environment

SETTING: Final = "MESHAG_CREDENTIAL_KEYS"
KEY_FILE: Final = "credential-keys"
"""In the data directory: the installation's own key, which `manage.py` draws where no other is set."""


class CannotOpen(Exception):
    """The message says why, and what to do."""


class Sealing:
    """The newest key seals, every key opens."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises BadSetting, which repeats no key."""
        try:
            self._keys = [Fernet(key) for key in keys]
        except ValueError:
            raise BadSetting(
                f"{SETTING} must be keys of 32 bytes each in URL-safe base64, the newest first, with commas between"
            ) from None

    @classmethod
    def from_environment(cls, env: Environment, data_dir: Path) -> Self:
        """What MESHAG_CREDENTIAL_KEYS says, then the data directory's own key. Raises BadSetting."""
        file = data_dir / KEY_FILE
        try:
            own = file.read_text() if file.exists() else ""
        except (OSError, UnicodeDecodeError):
            raise BadSetting(f"{file} cannot be read; it holds the key of the stored credentials") from None
        return cls([*env.words(SETTING), *own.replace(",", " ").split()])

    def seal(self, workspace: str, provider: str, values: Mapping[str, str]) -> str:
        """Whose it is and for what is sealed too, so that it is of use there only. Raises CannotOpen without a key."""
        return self._fernet().encrypt(json.dumps([workspace, provider, values]).encode()).decode()

    def open(self, workspace: str, provider: str, sealed: str) -> dict[str, str]:
        """Raises CannotOpen."""
        place, values = self._read(sealed)
        if place == [provider]:
            raise CannotOpen("its seal names no workspace, as older ones did: run `manage.py rotate_credentials`")
        if place != [workspace, provider]:
            where = " in ".join(reversed(place))
            raise CannotOpen(f"it was sealed for {where}, not for {provider} in {workspace}: enter the credential anew")
        return values

    def is_current(self, workspace: str, provider: str, sealed: str) -> bool:
        """Whether the key that seals now has sealed it, and for this place."""
        try:
            return self._contents(self._keys[0].decrypt(sealed))[0] == [workspace, provider]
        except (InvalidToken, IndexError):
            return False

    def renew(self, workspace: str, provider: str, sealed: str) -> str:
        """The same values under the newest key, of a row that is known to be this workspace's. Raises CannotOpen."""
        place, values = self._read(sealed)
        if place == [provider]:
            return self.seal(workspace, provider, values)
        return self.seal(workspace, provider, self.open(workspace, provider, sealed))

    def _read(self, sealed: str) -> tuple[list[str], dict[str, str]]:
        try:
            return self._contents(self._fernet().decrypt(sealed))
        except (InvalidToken, ValueError):
            raise CannotOpen(
                f"it was sealed with a key that is not in {SETTING}: add that key, or enter it anew"
            ) from None

    @staticmethod
    def _contents(opened: bytes) -> tuple[list[str], dict[str, str]]:
        *place, values = json.loads(opened)
        return place, values

    def _fernet(self) -> MultiFernet:
        if not self._keys:
            raise CannotOpen(f"no {SETTING} is set: give this program the keys that the web has")
        return MultiFernet(self._keys)


def draw_key() -> str:
    return Fernet.generate_key().decode()
