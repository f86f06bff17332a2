"""Which port each thing gets: never one of somebody else."""

from collections.abc import Iterator

import pytest

from mesh.environment import BadSetting
from meshag_site import ports
from meshag_site.ports import LOOPBACK, PortError, choose_ports, free_port, is_free, listen


@pytest.fixture
def taken() -> Iterator[int]:
    with listen(0, LOOPBACK) as server:
        yield server.getsockname()[1]


@pytest.mark.accepts("M56", "M57", "M58", "M59", "M60", "M61")
def test_documented_ports_are_the_defaults() -> None:
    assert ports.DOCUMENTED == {
        "MESHAG_WEB_PORT": 8000,
        "STT_PORT": 8081,
        "LLM_PORT": 8082,
        "TTS_PORT": 8083,
        "TRANSPORT_PORT": 8084,
        "MESHAG_BRIDGE_PORT": 0,
        "MESHAG_NATS_PORT": 4222,
        "MESHAG_NATS_MONITOR_PORT": 8222,
        "MESHAG_VALKEY_PORT": 6379,
    }


def test_documented_port_is_used_when_free(monkeypatch: pytest.MonkeyPatch) -> None:
    number = free_port()
    monkeypatch.setitem(ports.DOCUMENTED, ports.STT, number)
    chosen = choose_ports([ports.STT], {})
    assert (chosen[ports.STT], chosen.notices) == (number, [])


def test_taken_documented_port_is_replaced(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.setitem(ports.DOCUMENTED, ports.NATS, taken)
    chosen = choose_ports([ports.NATS], {})
    assert chosen[ports.NATS] != taken
    assert str(taken) in chosen.notices[0] and ports.NATS in chosen.notices[0]


def test_taken_port_that_was_asked_for(taken: int) -> None:
    with pytest.raises(PortError, match=f"STT_PORT={taken}: another program"):
        choose_ports([ports.STT], {"STT_PORT": str(taken)})


def test_two_settings_cannot_share_a_port() -> None:
    number = str(free_port())
    with pytest.raises(PortError, match="LLM_PORT and STT_PORT are both"):
        choose_ports([ports.STT, ports.LLM], {"STT_PORT": number, "LLM_PORT": number})


@pytest.mark.parametrize("text", ["http", "-1", "65536", "8081.0", "٣"])
def test_port_that_is_no_port(text: str) -> None:
    with pytest.raises(BadSetting, match="STT_PORT must be a port from 1 to 65535"):
        choose_ports([ports.STT], {"STT_PORT": text})


@pytest.mark.parametrize("text", ["0", "auto", "AUTO"])
def test_any_free_port_without_notice(text: str) -> None:
    chosen = choose_ports([ports.STT, ports.LLM], {"STT_PORT": text, "LLM_PORT": text})
    assert len(set(chosen.numbers.values())) == 2 and not chosen.notices


def test_listening_port_is_exclusive() -> None:
    with listen(0, LOOPBACK) as server:
        number = server.getsockname()[1]
        assert not is_free(number)
    assert is_free(number)
