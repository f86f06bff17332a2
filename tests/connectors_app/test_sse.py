"""Server-sent events, however their bytes are cut."""

from collections.abc import AsyncIterator

import pytest

from connectors_app import sse
from connectors_app.sse import events

STREAM = b': hello\r\nevent: delta\r\ndata: {"a":1}\r\n\r\ndata:two\ndata:lines\n\nid: 7\n\ndata: [DONE]\n\ndata: cut'


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_events_survive_every_cut(size: int) -> None:
    found = [data async for data in events(pieces_of(STREAM, size))]
    assert found == [b'{"a":1}', b"two\nlines", b"[DONE]"]


async def test_a_line_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_LINE", 1000)
    asked: list[bytes] = []

    async def flood() -> AsyncIterator[bytes]:
        while True:
            asked.append(b"a" * 100)
            yield asked[-1]

    assert [data async for data in events(flood())] == []
    assert len(asked) == 11
