"""The one open door: who may come in without an account or a key, and how addresses of this machine are told."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

FORWARDED = {"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip"}
OLDEST_HTTP = (1, 1)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request says of where it comes from."""

    peer: str
    """The address at the other end of its connection."""
    host: str
    """The server that it asks for, as in its Host header."""
    http: tuple[int, int]
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, peer: str | None, host: str, http: tuple[int, int], headers: Iterable[tuple[str, str]]) -> "Visit":
        return cls(peer or "", host, http, tuple((name.lower(), value) for name, value in headers))

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]


def has_open_door(*, embedded: bool, public_url: str, is_wanted: bool) -> bool:
    """Only in the embedded default, and not where MESHAG_OPEN_DOOR closes it."""
    return embedded and not public_url and is_wanted


def may_enter(visit: Visit, *, is_open: bool) -> bool:
    """Nobody else than a person at this machine, by an open door."""
    return (
        is_open
        and is_loopback(visit.peer)
        and is_loopback(host_of(f"//{visit.host}"))
        and visit.http >= OLDEST_HTTP  # some proxies say nothing of themselves, but this
        and not any(name in FORWARDED or name.startswith("x-forwarded") for name, _ in visit.headers)
        and "cross-site" not in visit.values("sec-fetch-site")
        and all(is_loopback(host_of(origin)) for origin in visit.values("origin"))
    )


def host_of(url: str) -> str:
    """The host name, in small letters; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
