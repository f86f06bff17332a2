"""The Anthropic stand-in, asked by Anthropic's SDK."""

from typing import Any

import anthropic
import httpx2
import pytest

from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.brain import reply_for
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

QUESTION = {"role": "user", "content": "Where is the harbour?"}
ANSWER = reply_for("Where is the harbour?")


async def streamed(client: Any) -> Any:
    async with client.messages.stream(model="claude-haiku-4-5", max_tokens=100, messages=[QUESTION]) as stream:
        return await stream.get_final_message()


async def test_messages_stream_the_reply(anthropic_client: Any) -> None:
    message = await streamed(anthropic_client)
    assert message.content[0].text == ANSWER
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", len(ANSWER.split()))


async def test_messages_answer_whole(anthropic_client: Any) -> None:
    message = await anthropic_client.messages.create(model="claude-haiku-4-5", max_tokens=3, messages=[QUESTION])
    assert (message.content[0].text, message.stop_reason) == ("Point one of", "max_tokens")


async def test_options_reach_the_record(standins: StandIns, anthropic_client: Any) -> None:
    await anthropic_client.messages.create(
        model="claude-haiku-4-5", max_tokens=9, messages=[QUESTION], system="Be brief.", stop_sequences=["Bye"]
    )
    (recorded,) = standins.requests_to(ANTHROPIC_MESSAGES)
    assert (recorded.body["system"], recorded.body["stop_sequences"]) == ("Be brief.", ["Bye"])
    assert recorded.headers["authorization"] == "Bearer key" and recorded.headers["anthropic-version"]


async def test_models_are_listed(anthropic_client: Any) -> None:
    assert "claude-haiku-4-5" in [model.id async for model in anthropic_client.models.list()]


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503, 529])
async def test_messages_can_be_refused(standins: StandIns, anthropic_client: Any, status: int) -> None:
    standins.steer(ANTHROPIC_MESSAGES, Behaviour(fault=Fault.REFUSE, status=status))
    with pytest.raises(anthropic.APIStatusError) as refused:
        await streamed(anthropic_client)
    assert refused.value.status_code == status


async def test_a_cut_is_a_broken_connection(standins: StandIns, anthropic_client: Any) -> None:
    standins.steer(ANTHROPIC_MESSAGES, Behaviour(fault=Fault.CUT, after=3))
    with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
        await streamed(anthropic_client)


async def test_an_empty_answer_is_well_formed(standins: StandIns, anthropic_client: Any) -> None:
    standins.steer(ANTHROPIC_MESSAGES, Behaviour(fault=Fault.EMPTY))
    message = await streamed(anthropic_client)
    assert (message.content, message.stop_reason) == ([], "end_turn")
