"""Which port each thing listens on: the one that was set, the documented one when it is free, else any free one."""

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mesh.environment import Environment

LOOPBACK = "127.0.0.1"

WEB, TRANSPORT = "MESHAG_WEB_PORT", "TRANSPORT_PORT"
STT, LLM, TTS = "STT_PORT", "LLM_PORT", "TTS_PORT"
BRIDGE = "MESHAG_BRIDGE_PORT"
NATS, NATS_MONITOR, VALKEY = "MESHAG_NATS_PORT", "MESHAG_NATS_MONITOR_PORT", "MESHAG_VALKEY_PORT"

DOCUMENTED = {
    WEB: 8000,
    STT: 8081,
    LLM: 8082,
    TTS: 8083,
    TRANSPORT: 8084,
    BRIDGE: 0,
    NATS: 4222,
    NATS_MONITOR: 8222,
    VALKEY: 6379,
}
"""0: any free one."""


class PortError(Exception):
    """A port that was asked for cannot be had. The message names the setting and the port."""


@dataclass(frozen=True, slots=True)
class Ports:
    numbers: Mapping[str, int]
    notices: Sequence[str]
    """A line for each documented port that was taken."""
    moved: Sequence[str] = ()
    """The settings of those ports."""

    def __getitem__(self, setting: str) -> int:
        return self.numbers[setting]


def choose_ports(settings: Sequence[str], environ: Mapping[str, str], *, host: str = LOOPBACK) -> Ports:
    """A port for each setting; `host` is where what is reached from outside listens. Raises BadSetting, PortError."""
    env = Environment(environ)
    asked = {setting: env.port(setting, 0) for setting in settings if env.text(setting)}
    numbers: dict[str, int] = {}
    for setting, number in asked.items():
        if number:
            numbers[setting] = _asked_for(setting, number, numbers, _host(setting, host))
    notices, moved = [], []
    for setting in (setting for setting in settings if setting not in numbers):
        number, where = DOCUMENTED[setting], _host(setting, host)
        documented = number and setting not in asked and number not in numbers.values()
        if documented and is_free(number, where):
            numbers[setting] = number
            continue
        numbers[setting] = free_port(numbers.values(), host=where)
        if documented:
            notices.append(f"Port {number} is taken by another program: {numbers[setting]} instead ({setting} sets it)")
            moved.append(setting)
    return Ports(numbers, notices, moved)


def _host(setting: str, host: str) -> str:
    return LOOPBACK if setting in (NATS, NATS_MONITOR, VALKEY) else host


def _asked_for(setting: str, number: int, taken: Mapping[str, int], host: str) -> int:
    for other, its in taken.items():
        if its == number:
            raise PortError(f"{setting} and {other} are both {number}: give each its own port")
    if not is_free(number, host):
        raise PortError(f"{setting}={number}: another program listens on this port; stop it or set another port")
    return number


def is_free(port: int, host: str = LOOPBACK) -> bool:
    try:
        with _bound(port, host):
            return True
    except OSError:
        return False


def free_port(but_not: Collection[int] = (), *, host: str = LOOPBACK) -> int:
    """Free now: whoever needs certainty binds it and tries again."""
    while True:
        with _bound(0, host) as probe:
            port: int = probe.getsockname()[1]
        if port not in but_not:
            return port


def listen(port: int, host: str) -> socket.socket:
    """A listening socket that nobody else can share, for handing down to processes."""
    server = _bound(port, host)
    server.listen(1024)
    return server


def _bound(port: int, host: str) -> socket.socket:
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # Not to share the port, only to take it over from connections that are closing.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
    except OSError:
        server.close()
        raise
    return server
