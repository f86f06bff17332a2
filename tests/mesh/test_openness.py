"""Who comes in by the open door."""

from typing import Any

import pytest

from mesh import openness
from mesh.openness import Visit, has_open_door, host_of, is_loopback

HERE = {"Host": "localhost:8000", "Sec-Fetch-Site": "same-origin"}


def may_enter(
    headers: dict[str, str] | None = None,
    *,
    peer: str = "127.0.0.1",
    host: str = "localhost:8000",
    http: tuple[int, int] = (1, 1),
    is_open: bool = True,
) -> bool:
    visit = Visit.of(peer, host, http, (HERE | (headers or {})).items())
    return openness.may_enter(visit, is_open=is_open)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"])
def test_this_machine_is_let_in(peer: str, host: str) -> None:
    assert may_enter(peer=peer, host=host)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8000"])
def test_pages_of_this_machine_are_let_in(origin: str) -> None:
    assert may_enter({"Origin": origin, "Sec-Fetch-Site": "same-site"})


@pytest.mark.parametrize("peer", ["192.0.2.7", "::ffff:192.0.2.7", "", "unix"])
def test_other_machines_are_not(peer: str) -> None:
    assert not may_enter(peer=peer)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example"])
def test_a_foreign_name_is_not(host: str) -> None:
    assert not may_enter(host=host)


@pytest.mark.parametrize("name", ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-Anything", "CF-Connecting-IP"])
def test_a_proxy_is_not(name: str) -> None:
    assert not may_enter({name: "127.0.0.1"})


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}], ids=str
)
def test_a_foreign_page_is_not(headers: dict[str, str]) -> None:
    assert not may_enter(headers)


def test_old_http_may_be_a_proxy() -> None:
    assert not may_enter(http=(1, 0)) and may_enter(http=(2, 0))


def test_nobody_enters_by_a_closed_door() -> None:
    assert not may_enter(is_open=False)


EMBEDDED: dict[str, Any] = {"embedded": True, "public_url": "", "is_wanted": True}


@pytest.mark.parametrize(
    "change", [{"embedded": False}, {"public_url": "https://agents.example.com"}, {"is_wanted": False}], ids=str
)
def test_only_the_embedded_default_has_a_door(change: dict[str, Any]) -> None:
    assert has_open_door(**EMBEDDED) and not has_open_door(**EMBEDDED | change)


def test_hosts_are_read_from_addresses() -> None:
    assert (host_of("https://A.example:1/x"), host_of("//[::1]:80"), host_of("//[::1")) == ("a.example", "::1", "")
    assert is_loopback("localhost") and not is_loopback("localhost.example")
