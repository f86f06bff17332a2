"""Stand-ins by hand: `python -m tests.providers --port 9100` prints the settings that point MeshAG at them."""

import argparse
import asyncio
import sys

from tests.providers.found import turns
from tests.providers.routes import Kind
from tests.providers.standins import Setting, StandIns
from tests.providers.steering import Behaviour


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.providers", description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--latency-ms", type=float, default=0, help="before the first byte of every answer")
    parser.add_argument("--token-ms", type=float, default=0, help="between the tokens of a language model")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        asyncio.run(_child() if options.child else _by_hand(options.port, options.latency_ms, options.token_ms))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        parser.error(f"port {options.port} cannot be taken ({error.strerror}); choose another with --port")


async def _by_hand(port: int, latency_ms: float, token_ms: float) -> None:
    async with StandIns(port=port) as standins:
        for route in {turn.answered for turn in turns()}:
            each = token_ms if route.kind is Kind.EVENTS else 0
            standins.steer(route, Behaviour(first_ms=latency_ms, each_ms=each))
        for name, value in standins.env.items():
            print(f"export {name}={value}", flush=True)
        await asyncio.Event().wait()


async def _child() -> None:
    """Told what to be on the first line of standard input; ends when that is closed, so also when the parent dies."""
    setting = Setting.model_validate_json(sys.stdin.buffer.readline())
    standins = StandIns(**dict(setting))
    async with standins:
        print(standins.url, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


main()
