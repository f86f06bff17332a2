"""The connection of the bus, and how it says that there is none."""

import pytest

from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from meshag_site.ports import free_port

pytestmark = pytest.mark.nats


async def test_no_server_is_a_clear_error() -> None:
    with pytest.raises(Unreachable, match="NATS_URL"):
        await Bus.connect(f"nats://127.0.0.1:{free_port()}")


async def test_an_error_tells_no_password() -> None:
    with pytest.raises(Unreachable) as refused:
        await Bus.connect(f"nats://user:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(refused.value)
