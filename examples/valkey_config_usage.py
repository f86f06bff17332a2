"""Store, read, list, extend and delete the configuration of a session in Valkey.

    python examples/valkey_config_usage.py [redis://localhost:6379]

Without an address it uses VALKEY_URL. Everything it stores it deletes again.
"""

import asyncio
import os
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone, wherever it is started

from mesh.config.json_text import revision  # noqa: E402
from mesh.orchestrator import AgentOrchestrator  # noqa: E402
from mesh.store import ConfigStorage, StoreUnavailable  # noqa: E402


async def tour(url: str) -> None:
    orchestrator = await AgentOrchestrator.from_config_file(ROOT / "config" / "agent-config.json")
    orchestrator.validate_config()
    print(f"loaded {orchestrator.config.pipeline.name}: {' and '.join(sorted(orchestrator.config.roles()))}")

    storage = await ConfigStorage.new(url)
    session = f"example-{uuid.uuid4()}"
    try:
        await storage.store_config(session, orchestrator.config)
        print(f"stored as config:{session}, gone after {await storage.get_config_ttl(session)} s")

        config = await storage.get_config(session)
        assert config == orchestrator.config
        print(f"read back revision {revision(await storage.get_document(session))}")
        print(f"speech is made by {' or else '.join(config.chain('tts'))}")

        await storage.extend_config_ttl(session, 7200)  # 2 hours
        print(f"extended to {await storage.get_config_ttl(session)} s")
        print(f"listed: {session in await storage.list_configs()}")
        print(f"expired ones cleaned up: {await storage.cleanup_expired_configs()}")
    finally:
        await storage.delete_config(session)
        print(f"deleted: {await storage.get_config(session) is None}")
        await storage.close()


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("VALKEY_URL", "redis://localhost:6379")
    try:
        asyncio.run(tour(url))
    except StoreUnavailable as error:
        sys.exit(f"{error}\nStart Valkey with `make up`, or give its address: {sys.argv[0]} redis://HOST:PORT")


if __name__ == "__main__":
    main()
