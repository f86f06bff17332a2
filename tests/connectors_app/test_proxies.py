"""Which proxy an address is reached by, and what is told of one that is not there."""

import pytest

from connectors_app import registry
from connectors_app.base.connector import Credentials, Role
from connectors_app.base.errors import ProviderError
from connectors_app.proxies import NoProxy, Proxy, proxy_of


@pytest.mark.parametrize(
    ("address", "setting"),
    [
        ("https://api.example.com/v1", "HTTPS_PROXY"),
        ("http://api.example.com", "ALL_PROXY"),
        ("https://models.inside.example", None),
        ("https://models.example:8443", None),
        ("https://models.example", "HTTPS_PROXY"),
        ("http://localhost:11434", None),
        ("http://127.0.0.1:9", None),
        ("http://[::1]:9", None),
        ("no address", None),
        ("http://a:port", None),
    ],
)
def test_an_address_has_its_proxy(address: str, setting: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("all_proxy", "http://me:secret@other.example")
    monkeypatch.setenv("NO_PROXY", "inside.example, models.example:8443")
    found = proxy_of(address)
    assert (found and found.setting) == setting and "secret" not in f"{found}"


def test_a_proxy_is_told_without_its_password() -> None:
    assert Proxy("HTTPS_PROXY", "http://me:secret@proxy.example:3128").place == "proxy.example:3128"
    assert Proxy("HTTPS_PROXY", "http://proxy.example").place == "proxy.example"


@pytest.mark.parametrize("url", ["socks5://proxy.example", "http://", "http://a:port", "http://[::1"])
def test_what_is_no_proxy_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(NoProxy, match="HTTPS_PROXY is no proxy that can be used"):
        proxy_of("https://api.example.com")


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("127.0.0.1:9", " by the proxy 127.0.0.1:9: nothing listens there; is HTTPS_PROXY right and reachable?"),
        ("proxy.invalid", " by the proxy proxy.invalid: there is no such host; is HTTPS_PROXY right and reachable?"),
        (
            "socks5://a",
            ": HTTPS_PROXY is no proxy that can be used: it begins with http:// or https://, and names a host",
        ),
    ],
)
@pytest.mark.parametrize(("role", "slug"), [(Role.LLM, "openai"), (Role.LLM, "google"), (Role.STT, "deepgram")])
async def test_a_proxy_that_is_not_there_is_named(
    role: Role, slug: str, proxy: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    cls = registry.get(role, slug)
    connector = cls(cls.Options(), Credentials("key", "https://provider.example"))
    with pytest.raises(ProviderError) as caught:
        await connector.check()
    await connector.close()
    assert caught.value.message == f"no connection to {cls.label}{told}"
