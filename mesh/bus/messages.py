"""Plain messages and requests: what may be lost, and questions that somebody answers in time or not."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from mesh.bus.errors import NoAnswer, NobodyThere, Unreachable
from mesh.cancelling import cancellable

Receiver = Callable[[str, bytes, Mapping[str, str]], None]

FINISH_TIMEOUT = 1.0
PENDING_MESSAGES = 4096


class Subscription:
    """Interest in a subject. End it with `close`."""

    def __init__(self, inner: NatsSubscription) -> None:
        self._inner = inner

    async def close(self) -> None:
        with contextlib.suppress(NatsError):
            await self._inner.unsubscribe()

    async def finish(self) -> None:
        """End it so that what is on its way still arrives: another member of the queue would never get it."""
        with contextlib.suppress(TimeoutError, NatsError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                await self._inner.drain()  # type: ignore[no-untyped-call]


async def subscribe(
    client: Client, subject: str, receive: Receiver, *, queue: str = "", pending: int = PENDING_MESSAGES
) -> Subscription:
    """`receive` runs for each message, in order, and must not block. Beyond `pending`, new ones are dropped."""

    async def deliver(message: Msg) -> None:
        receive(message.subject, message.data, message.headers or {})

    inner = await client.subscribe(subject, queue=queue, cb=deliver, pending_msgs_limit=pending)
    return Subscription(inner)


async def request(
    client: Client, subject: str, payload: bytes, *, within: float, headers: Mapping[str, str] | None = None
) -> bytes:
    """Ask and wait; raises NobodyThere at once when nobody serves the subject, NoAnswer after `within` seconds."""
    if not client.is_connected:
        raise Unreachable("NATS is away")
    try:
        with cancellable():
            sent = dict(headers) if headers else None
            return (await client.request(subject, payload, timeout=within, headers=sent)).data
    except NoRespondersError:
        raise NobodyThere(subject) from None
    except (TimeoutError, NatsTimeout):
        raise NoAnswer(subject) from None
    except NatsError as error:
        raise Unreachable(f"NATS is away ({error})") from None
