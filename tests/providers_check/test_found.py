"""Stand-ins are found by themselves, and get out of each other's way."""

import pytest
from aiohttp import web

from tests.providers.found import environment, route, routes, stand_ins, turns
from tests.providers.openai import OPENAI_CHAT
from tests.providers.paths import add_shared, check_paths, has_header


async def mute(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNoContent


def test_every_file_that_declares_one_is_found() -> None:
    assert {"openai", "deepgram", "elevenlabs", "anthropic", "azure"} <= {
        module.__name__.rpartition(".")[2] for module in stand_ins() if hasattr(module, "__name__")
    }


def test_a_route_has_one_name() -> None:
    assert route("openai.chat") is OPENAI_CHAT and len(set(routes().values())) == len(routes())


def test_the_route_of_every_turn_is_found() -> None:
    assert {turn.asked for turn in turns()} | {turn.answered for turn in turns()} <= set(routes().values())


def test_no_two_turns_are_alike() -> None:
    assert len({str(turn) for turn in turns()}) == len(turns())


def test_no_setting_is_declared_differently() -> None:
    assert all(module.environment("").items() <= environment("").items() for module in stand_ins())


def test_a_path_for_everybody_has_one_taker() -> None:
    app = web.Application()
    add_shared(app, "GET", "/v1/models", mute, has_header("a"))
    add_shared(app, "GET", "/v1/models", mute)
    with pytest.raises(ValueError, match="GET /v1/models"):
        add_shared(app, "GET", "/v1/models", mute)


def test_a_path_that_two_take_is_refused() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat", mute)
    app.router.add_post("/v1/voice", mute)
    app.router.add_post("/v1/chat", mute)
    with pytest.raises(ValueError, match="POST /v1/chat"):
        check_paths(app)
