"""A workspace's own credential in a worker's pool: sealed on the way, before the environment's, never mixed up."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from connectors_app.answering import answer
from connectors_app.base.connector import Credentials, Role, Sealed
from connectors_app.base.errors import ErrorKind
from connectors_app.pool import AllFailed, Chain, Pool
from connectors_app.recognizing import Recognizing
from connectors_app.sealing import Sealing, draw_key
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.fakes import HASTY, Told, failing, never_out
from tests.connectors_app.turns import HELLO
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT
from tests.providers.standins import StandIns

SEALING = Sealing([draw_key()])
FOREIGN = Sealing([draw_key()])


def sealed(key: str, sealing: Sealing = SEALING, **more: str) -> Sealed:
    return Sealed("bicycles", {"openai": sealing.seal("bicycles", "openai", {"OPENAI_API_KEY": key, **more})})


def credentials_of(chain: Chain[Any]) -> Credentials:
    credentials: Credentials = chain.connectors[0].credentials
    return credentials


@pytest.fixture
async def pool(environ: dict[str, str]) -> AsyncIterator[Pool]:
    pool = Pool(environ, sealing=SEALING, breakers=never_out())
    yield pool
    await pool.close()


async def reply(chain: Chain[Any], told: Told) -> str:
    async with aclosing(answer(chain, HELLO, HASTY, told)) as items:
        return "".join([item async for item in items if isinstance(item, str)])


async def test_an_own_key_comes_before_the_environments(pool: Pool, environ: dict[str, str]) -> None:
    chain = pool.models(["openai"], {}, sealed("sk-of-bicycles"))
    assert credentials_of(chain) == Credentials("sk-of-bicycles", environ["OPENAI_BASE_URL"], is_own=True)
    assert credentials_of(pool.models(["openai"], {})).api_key == environ["OPENAI_API_KEY"]


async def test_a_key_of_the_account_serves_all_its_providers(pool: Pool) -> None:
    account = sealed("sk-of-bicycles").values["openai"]
    chain = pool.models(["openai_responses"], {}, Sealed("bicycles", {"openai_responses": account}))
    assert credentials_of(chain).api_key == "sk-of-bicycles"


async def test_a_credential_that_is_not_there_is_told(pool: Pool) -> None:
    """The environment has a key, and it is not the one that the agent names."""
    told = Told()
    chain = pool.models(["openai", "script"], {}, Sealed("bicycles", {"openai": ""}))
    assert await reply(chain, told)
    assert told.failures == [("openai", ErrorKind.UNCONFIGURED)]


async def test_another_key_is_asked_at_once() -> None:
    """Whoever saves one does not wait until the former one might be probed."""
    pool = Pool({"ANTHROPIC_API_KEY": "k"}, sealing=SEALING)
    former, mended = (pool.models(["openai", "anthropic"], {}, sealed(key)) for key in ("sk-revoked", "sk-new"))
    former.failed(former.connectors[0], failing(ErrorKind.AUTH), time.monotonic(), Told())
    assert [chain.order()[0].slug for chain in (former, mended)] == ["anthropic", "openai"]
    await pool.close()


async def test_workspaces_do_not_share_connectors(pool: Pool) -> None:
    bicycles, boats = (pool.models(["openai"], {}, sealed(key)) for key in ("sk-of-bicycles", "sk-of-boats"))
    again = pool.models(["openai"], {}, sealed("sk-of-bicycles"))
    assert bicycles.connectors[0] is again.connectors[0] is not boats.connectors[0]


async def test_an_own_key_works_without_an_environment(stand_ins: StandIns) -> None:
    pool = Pool({}, sealing=SEALING)
    chain = pool.models(["openai"], {}, sealed("sk-of-bicycles", OPENAI_BASE_URL=stand_ins.env["OPENAI_BASE_URL"]))
    assert await pool._warm_one(chain.connectors[0]) is None
    assert await reply(chain, Told()) == reply_for(QUESTION)
    keys = {request.headers["authorization"] for request in stand_ins.requests_to(OPENAI_CHAT)}
    assert keys == {"Bearer sk-of-bicycles"}
    await pool.close()


async def test_an_own_address_never_gets_the_environments_key() -> None:
    """Who can set an address must not be able to send the operator's key there."""
    values = {"CUSTOM_BASE_URL": "https://elsewhere.example.com/v1"}
    own = Sealed("bicycles", {"custom": SEALING.seal("bicycles", "custom", values)})
    pool = Pool({"CUSTOM_API_KEY": "sk-of-the-operator", "CUSTOM_BASE_URL": "http://inside/v1"}, sealing=SEALING)
    chain = pool.models(["custom"], {"custom": {"model": "m"}}, own)
    assert credentials_of(chain) == Credentials("", "https://elsewhere.example.com/v1", is_own=True)
    await pool.close()


async def test_a_copied_credential_opens_for_nobody_else(pool: Pool) -> None:
    copied = replace(sealed("sk-of-bicycles"), workspace="boats")
    with pytest.raises(AllFailed, match="sealed for openai in bicycles, not for openai in boats"):
        await reply(pool.models(["openai"], {}, copied), Told())


async def test_what_cannot_be_opened_is_told_once(pool: Pool) -> None:
    told = Told()
    chain = pool.models(["openai"], {}, sealed("sk-of-bicycles", FOREIGN))
    for _ in range(2):
        with pytest.raises(AllFailed, match="credential for OpenAI cannot be opened: .* MESHAG_CREDENTIAL_KEYS"):
            await reply(chain, told)
    assert told.failures == [("openai", ErrorKind.UNCONFIGURED)]


async def test_the_next_provider_answers_for_one_that_is_shut(pool: Pool) -> None:
    told = Told()
    chain = pool.models(["openai", "script"], {}, sealed("sk-of-bicycles", FOREIGN))
    assert await reply(chain, told)
    assert told.failures == [("openai", ErrorKind.UNCONFIGURED)]


async def test_a_recogniser_that_is_shut_is_told_too(pool: Pool) -> None:
    told = Told()
    chain = pool.recognizers(["openai"], {}, sealed("sk-of-bicycles", FOREIGN))
    async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognizing:
        await recognizing.begin()
        with pytest.raises(AllFailed):
            await recognizing.finish()
    assert told.failures == [("openai", ErrorKind.UNCONFIGURED)]


async def test_a_refused_own_key_is_not_called_the_environments(pool: Pool) -> None:
    chain = pool.models(["openai"], {}, sealed("revoked"))
    await pool.warm(Role.LLM)
    with pytest.raises(AllFailed, match="does not accept the key in the workspace's credential"):
        await reply(chain, Told())
