"""Nudges to live pages."""

import asyncio

import pytest
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer

from meshag_site.ports import free_port
from sessions_app.nudges import Nudges, group


@pytest.mark.usefixtures("channels_on_valkey")
async def test_a_newer_nudge_replaces_an_older_one() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group("s1"), channel)
    nudges = Nudges(layer)
    nudges.add({"s1": 1})
    nudges.add({"s1": 2})
    await nudges.send_waiting()
    async with asyncio.timeout(5):
        assert (await layer.receive(channel))["sequence"] == 2
    assert nudges.sent == 1


async def test_a_lost_valkey_is_counted() -> None:
    nudges = Nudges(RedisPubSubChannelLayer(hosts=[f"redis://127.0.0.1:{free_port()}"]))
    nudges.add({"s1": 1})
    await nudges.send_waiting()
    assert (nudges.sent, nudges.lost) == (0, 1)
