"""Which connectors a process has, who shares them, and which cannot be asked."""

from connectors_app.base import ErrorKind
from connectors_app.pool import Pool


async def test_sessions_share_connectors_with_equal_options() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chains = [pool.models(["openai"], {"openai": {"temperature": t}}) for t in (0.1, 0.1, 0.2)]
    first, same, other = (chain.connectors[0] for chain in chains)
    assert first is same and first is not other
    await pool.close()


async def test_an_idle_connector_is_kept_for_the_next() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chain = pool.models(["openai"], {})
    before = chain.connectors[0]
    await chain.close()
    assert pool.models(["openai"], {}).connectors[0] is before


async def test_too_many_idle_connectors_are_closed() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    pool.KEPT_IDLE = 2
    for n in range(5):
        await pool.models(["openai"], {"openai": {"seed": n}}).close()
    assert len(pool._connectors) == 2


async def test_providers_without_keys_are_skipped() -> None:
    chain = Pool({"ANTHROPIC_API_KEY": "k"}).models(["openai", "anthropic", "nobody"], {})
    assert [connector.slug for connector in chain.connectors] == ["anthropic"]
    assert [(a.provider, a.error.kind) for a in chain.skipped] == [
        ("openai", ErrorKind.UNCONFIGURED),
        ("nobody", ErrorKind.UNCONFIGURED),
    ]
    assert "OPENAI_API_KEY" in chain.skipped[0].error.message


async def test_options_it_cannot_take_skip_a_provider() -> None:
    chain = Pool({"OPENAI_API_KEY": "k"}).models(["openai"], {"openai": {"temperature": 9}})
    assert chain.skipped[0].error.kind is ErrorKind.REQUEST and "temperature" in chain.skipped[0].error.message
