"""The proxy by which an address is reached, as the environment says: every client asks here, and so all do alike."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from mesh.openness import is_loopback

KINDS = ("http", "https")


class NoProxy(ValueError):
    """What is set is none that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Proxy:
    setting: str
    url: str = field(repr=False)
    """With its credentials, where it has some."""

    @property
    def place(self) -> str:
        """For people: nobody's password is in it."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def proxy_of(address: str) -> Proxy | None:
    """None: it is reached without one, as this machine always is. Raises NoProxy."""
    parts, set_here = _split(address), getproxies_environment()
    host = parts.hostname
    kind = parts.scheme if parts.scheme in set_here else "all"
    if kind not in set_here or not host or is_loopback(host) or _bypasses(host, parts.port, set_here):
        return None
    return Proxy(f"{kind.upper()}_PROXY", _checked(f"{kind.upper()}_PROXY", set_here[kind].strip()))


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _bypasses(host: str, port: int | None, set_here: dict[str, str]) -> bool:
    """By its name, or by its name and port."""
    return any(proxy_bypass_environment(name, set_here) for name in (host, f"{host}:{port}"))


def _checked(setting: str, url: str) -> str:
    """Without a scheme it is http, as for other programs."""
    url = url if "://" in url else f"http://{url}"
    parts = _split(url)
    if parts.scheme not in KINDS or not parts.hostname:
        raise NoProxy(f"{setting} is no proxy that can be used: it begins with http:// or https://, and names a host")
    return url
