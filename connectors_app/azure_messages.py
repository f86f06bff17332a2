"""The messages of Azure Speech's WebSocket: headers and a body, and before the headers of audio their length."""

import struct
from datetime import UTC, datetime
from typing import NamedTuple

LARGEST_AUDIO = 8192
"""Bytes of a message's body."""


class Message(NamedTuple):
    path: str
    turn: str
    """The request of which it is."""
    body: bytes


def text(path: str, turn: str, body: str) -> str:
    return f"{_headers(path, turn, 'application/json')}\r\n{body}"


def audio(turn: str, samples: bytes = b"", content_type: str = "") -> bytes:
    """Without samples it is the end of the turn's audio."""
    headers = _headers("audio", turn, content_type).encode()
    return struct.pack(">H", len(headers)) + headers + samples


def wave_header(rate: int) -> bytes:
    """Of 16-bit mono sound whose length is not known; it goes before a turn's first samples."""
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form + b"data\0\0\0\0"


def parse(message: bytes) -> Message:
    """Raises ValueError."""
    head, separator, body = message.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("there is no end of the headers")
    lines = [line.partition(":") for line in head.decode().split("\r\n")]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    return Message(headers.get("path", "").lower(), headers.get("x-requestid", "").lower(), body)


def _headers(path: str, turn: str, content_type: str) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    form = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"Path: {path}\r\nX-RequestId: {turn}\r\nX-Timestamp: {now}\r\n{form}"
