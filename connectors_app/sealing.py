"""Seals what must be kept or carried but not read on the way: provider keys at rest, in Valkey and on the bus."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mesh.environment import BadSetting, Environment

SETTING: Final = "MESHAG_CREDENTIAL_KEYS"
KEY_FILE: Final = "credential-keys"
"""In the data directory: the installation's own key, which `manage.py` draws where no other is set."""

FOREIGN: Final = f"it was sealed with a key that is not in {SETTING}"


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

    def seal(self, what: str, values: dict[str, str]) -> str:
        """`what` is sealed too, so that a value is of use in its own place only. Raises CannotOpen without a key."""
        return self._fernet().encrypt(json.dumps([what, values]).encode()).decode()

    def open(self, what: str, sealed: str) -> dict[str, str]:
        """Raises CannotOpen."""
        try:
            place, values = json.loads(self._fernet().decrypt(sealed))
        except (InvalidToken, ValueError):
            raise CannotOpen(
                f"it was sealed with a key that is not in {SETTING}: add that key, or enter it anew"
            ) from None
        if place != what:
            raise CannotOpen(f"it was sealed for {place}, not for {what}: enter the credential anew")
        return dict(values)

    def is_newest(self, sealed: str) -> bool:
        """Whether the key that seals now has sealed it."""
        try:
            self._keys[0].decrypt(sealed)
        except (InvalidToken, IndexError):
            return False
        return True

    def renew(self, sealed: str) -> str:
        """The same value under the newest key. Raises CannotOpen."""
        try:
            return self._fernet().rotate(sealed).decode()
        except InvalidToken:
            raise CannotOpen(FOREIGN) from None

    def _fernet(self) -> MultiFernet:
        if not self._keys:
            raise CannotOpen(f"no {SETTING} is set: give this program the keys that the web has")
        return MultiFernet(self._keys)


def draw_key() -> str:
    return Fernet.generate_key().decode()
