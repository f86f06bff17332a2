"""How a streamed answer may end: servers that speak OpenAI's API differ after the last token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors_app import openai_chat
from connectors_app.base import ErrorKind, Finished, ProviderError, Role
from tests.connectors_app.turns import made, reply_of

TOKEN = b'data: {"choices":[{"delta":{"content":"Yes"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"overloaded","code":"rate_limit_exceeded"}}\n\n'


@asynccontextmanager
async def answering(*pieces: bytes, abort: bool = False) -> AsyncIterator[dict[str, str]]:
    """A server whose every answer is these bytes."""

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if abort and request.transport:
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield {"CUSTOM_BASE_URL": "http://{}:{}/v1".format(*runner.addresses[0][:2])}
    await runner.cleanup()


@pytest.mark.parametrize(
    "ending",
    [(FINISH, USAGE, DONE), (FINISH, DONE), (FINISH,), (DONE,), (FINISH, b"data: {garbage\n\n")],
    ids=["usual", "no usage", "no done", "no reason", "garbage"],
)
@pytest.mark.parametrize("abort", [False, True], ids=["clean", "cut"])
async def test_an_end_mark_completes_the_answer(ending: tuple[bytes, ...], abort: bool) -> None:
    async with answering(TOKEN, *ending, abort=abort) as environ, made(Role.LLM, "custom", environ) as model:
        *texts, end = await reply_of(model)
    assert texts == ["Yes"] and isinstance(end, Finished) and end.reason == "stop"
    assert end.input_tokens == (3 if USAGE in ending else 0)


@pytest.mark.parametrize("abort", [False, True], ids=["clean", "cut"])
async def test_no_end_mark_is_a_break(abort: bool) -> None:
    async with answering(TOKEN, abort=abort) as environ, made(Role.LLM, "custom", environ) as model:
        with pytest.raises(ProviderError) as caught:
            await reply_of(model)
    assert caught.value.kind is ErrorKind.BROKEN


async def test_an_error_inside_the_stream_is_told() -> None:
    async with answering(ERROR) as environ, made(Role.LLM, "custom", environ) as model:
        with pytest.raises(ProviderError) as caught:
            await reply_of(model)
    assert caught.value.kind is ErrorKind.RATE_LIMIT


async def test_token_counts_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_chat, "AFTERMATH_SECONDS", 0.0)
    async with answering(TOKEN, FINISH, USAGE, DONE) as environ, made(Role.LLM, "custom", environ) as model:
        *_, end = await reply_of(model)
    assert isinstance(end, Finished) and end.reason == "stop"
