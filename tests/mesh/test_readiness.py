"""One shape for every `/ready` page."""

import asyncio

import pytest

from mesh import readiness
from mesh.readiness import NotReady, Readiness


async def fine() -> None:
    pass


async def away() -> None:
    raise NotReady("start it")


async def silent() -> None:
    await asyncio.Event().wait()


async def test_a_ready_service_names_its_checks() -> None:
    status, body = await Readiness("web", {"nats": fine}).answer()
    assert status == 200
    checks = [{"name": "nats", "status": "healthy", "message": ""}]
    assert body == {"status": "ready", "service": "web", "checks": checks}


async def test_one_missing_thing_is_enough() -> None:
    status, body = await Readiness("web", {"nats": fine, "valkey": away}).answer()
    assert (status, body["status"]) == (503, "not_ready")
    assert body["checks"][1] == {"name": "valkey", "status": "unhealthy", "message": "start it"}


async def test_silence_is_no_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "DEADLINE", 0.01)
    status, body = await Readiness("web", {"nats": silent}).answer()
    assert status == 503 and "no answer" in body["checks"][0]["message"]


async def test_many_who_ask_cost_one_look() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    page = Readiness("web", {"nats": look})
    await asyncio.gather(*(page.answer() for _ in range(20)))
    assert looks == 1
