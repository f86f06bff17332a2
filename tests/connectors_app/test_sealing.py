import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from connectors_app.sealing import KEY_FILE, CannotOpen, Sealing, draw_key
from mesh.environment import BadSetting, Environment

VALUES = {"DEEPGRAM_API_KEY": "dg-secret-of-bicycles"}


def test_what_is_sealed_opens_again() -> None:
    sealing = Sealing([draw_key()])
    sealed = sealing.seal("bicycles", "deepgram", VALUES)
    assert "dg-secret" not in sealed
    assert sealing.open("bicycles", "deepgram", sealed) == VALUES


def test_an_older_key_still_opens() -> None:
    older, newer = draw_key(), draw_key()
    sealed = Sealing([older]).seal("bicycles", "deepgram", VALUES)
    assert Sealing([newer, older]).open("bicycles", "deepgram", sealed) == VALUES


def test_a_renewed_value_needs_no_older_key() -> None:
    older, newer = draw_key(), draw_key()
    both = Sealing([newer, older])
    sealed = Sealing([older]).seal("bicycles", "deepgram", VALUES)
    renewed = both.renew("bicycles", "deepgram", sealed)
    assert [both.is_current("bicycles", "deepgram", one) for one in (sealed, renewed)] == [False, True]
    assert Sealing([newer]).open("bicycles", "deepgram", renewed) == VALUES


def test_a_foreign_key_names_the_setting() -> None:
    sealed = Sealing([draw_key()]).seal("bicycles", "deepgram", VALUES)
    with pytest.raises(CannotOpen, match="key that is not in MESHAG_CREDENTIAL_KEYS: add that key"):
        Sealing([draw_key()]).open("bicycles", "deepgram", sealed)


def test_without_a_key_nothing_opens() -> None:
    with pytest.raises(CannotOpen, match="no MESHAG_CREDENTIAL_KEYS is set"):
        Sealing([]).open("bicycles", "deepgram", Sealing([draw_key()]).seal("bicycles", "deepgram", VALUES))


def test_a_value_is_of_no_use_elsewhere() -> None:
    sealing = Sealing([draw_key()])
    with pytest.raises(CannotOpen, match="sealed for deepgram in bicycles, not for openai in bicycles"):
        sealing.open("bicycles", "openai", sealing.seal("bicycles", "deepgram", VALUES))


def test_a_value_is_of_no_use_to_others() -> None:
    sealing = Sealing([draw_key()])
    sealed = sealing.seal("bicycles", "deepgram", VALUES)
    for use in (sealing.open, sealing.renew):
        with pytest.raises(CannotOpen, match="sealed for deepgram in bicycles, not for deepgram in boats"):
            use("boats", "deepgram", sealed)


def older_seal(key: str, provider: str) -> str:
    """As they were when they named no workspace."""
    return Fernet(key).encrypt(json.dumps([provider, VALUES]).encode()).decode()


def test_an_older_seal_is_renewed_before_it_opens() -> None:
    sealing = Sealing([key := draw_key()])
    older = older_seal(key, "deepgram")
    assert not sealing.is_current("bicycles", "deepgram", older)
    with pytest.raises(CannotOpen, match="names no workspace.*rotate_credentials"):
        sealing.open("bicycles", "deepgram", older)
    assert sealing.open("bicycles", "deepgram", sealing.renew("bicycles", "deepgram", older)) == VALUES


@pytest.mark.parametrize("sealed", ["", "not sealed", "gAAAAA", "é"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(CannotOpen):
        Sealing([draw_key()]).open("bicycles", "deepgram", sealed)


@pytest.mark.parametrize("key", ["hunter2", "é" * 32, "A" * 44])
def test_a_wrong_key_is_not_repeated(key: str) -> None:
    with pytest.raises(BadSetting, match="MESHAG_CREDENTIAL_KEYS must be keys of 32 bytes") as told:
        Sealing([key])
    assert key not in str(told.value)


def test_given_keys_come_before_the_drawn_one(tmp_path: Path) -> None:
    given, drawn = draw_key(), draw_key()
    (tmp_path / KEY_FILE).write_text(drawn)
    sealing = Sealing.from_environment(Environment({"MESHAG_CREDENTIAL_KEYS": given}), tmp_path)
    assert Sealing([given]).open("bicycles", "deepgram", sealing.seal("bicycles", "deepgram", VALUES)) == VALUES
    assert sealing.open("bicycles", "deepgram", Sealing([drawn]).seal("bicycles", "deepgram", VALUES)) == VALUES


def test_keys_come_from_a_named_file(tmp_path: Path) -> None:
    newer, older = draw_key(), draw_key()
    (tmp_path / "keys").write_text(f"{newer},\n{older}\n")
    env = Environment({"MESHAG_CREDENTIAL_KEYS_FILE": str(tmp_path / "keys")})
    sealing = Sealing.from_environment(env, tmp_path)
    assert sealing.is_current("bicycles", "deepgram", Sealing([newer]).seal("bicycles", "deepgram", VALUES))
    assert sealing.open("bicycles", "deepgram", Sealing([older]).seal("bicycles", "deepgram", VALUES)) == VALUES
