"""What a provider's refusals and broken connections mean, said once for all providers and without any key."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.proxies import NoProxy, Proxy, proxy_of

T = TypeVar("T")

QUOTA_CODES = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_error",
    "quota_exceeded",
    "insufficient_credits",
    "payment_required",
    "asr_payment_required",
}
_SAYS_NOTHING = {None, 1000, 1001, 1005, 1006}
"""How sockets are closed that are just over, or gone."""
_ITS_OWN_FAULT = {1011, 1012, 1013, 1014}
"""How sockets are closed by a server that cannot go on."""
_NOT_ACCEPTED = {1007}
"""How Azure closes them when it does not accept what was asked, such as a language that it does not have."""
_NO_CREDIT = re.compile(r"credit balance is too low|credits are depleted", re.IGNORECASE)
"""Anthropic calls that a request that is not valid, Google one too many: only the words tell."""
_NOT_THERE = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
"""How aiohttp says that there is no connection."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_REASON = re.compile(r"[A-Z]+-\d{4}\b")
"""The code before the words of a reason, where it has one: NET-0000."""


def from_status(
    by: Connector, status: int, headers: Mapping[str, str] | None = None, body: Any = None
) -> ProviderError:
    """An HTTP answer that is a refusal; `body` is its JSON, if it has any."""
    if status == 407:
        return ProviderError(ErrorKind.REFUSED, f"no connection to {by.label}: {_unknown(_proxy(by))}")
    code = error_code(body)
    is_quota = code.lower() in QUOTA_CODES or _NO_CREDIT.search(str(_under(_under(body, "error"), "message")))
    kind = ErrorKind.QUOTA if is_quota else _kind(status)
    said = f"{status}, {code}" if code else str(status)
    why = _not_allowed(by) if kind is ErrorKind.AUTH and status == 403 else _say(by, kind)
    return ProviderError(kind, f"{why} ({said})", status=status, retry_after=retry_after(headers or {}))


async def expect_ok(by: Connector, response: aiohttp.ClientResponse) -> None:
    """Raises what an HTTP answer refuses."""
    if response.status >= 300:
        raise from_status(by, response.status, response.headers, _json(await response.read()))


def expect_key(by: Connector) -> None:
    """Raises what no header takes: the clients would, with a part of the key in their own words. No key has a space."""
    key = by.credentials.api_key
    if not (key.isascii() and key.isprintable()) or " " in key:
        why = f"the key in {_key_place(by)} has characters that no key has; was it copied from where it is masked?"
        raise ProviderError(ErrorKind.AUTH, why)


def expect_proxy(by: Connector) -> None:
    """Raises what is set as the proxy of its address, and is none."""
    try:
        proxy_of(by.credentials.base_url)
    except NoProxy as error:
        raise ProviderError(ErrorKind.REFUSED, f"no connection to {by.label}: {error}") from None


def expect_samples(by: Connector, headers: Mapping[str, str]) -> None:
    """Raises when a page or a document came where samples should: a proxy's, with status 200."""
    kind = headers.get("content-type", "").lower()
    if kind.startswith("text/") or "json" in kind or "xml" in kind:
        raise garbage(by)


def refused(by: Connector, error: Exception) -> ProviderError:
    """What happened on the way there: with a proxy, all of it is the proxy's matter until it lets one through."""
    proxy = _proxy(by)
    way = f" by the proxy {proxy.place}" if proxy else ""
    kind = ErrorKind.TIMEOUT if isinstance(error, aiohttp.ConnectionTimeoutError) else ErrorKind.REFUSED
    return ProviderError(kind, f"no connection to {by.label}{way}{_doubt(by, error, proxy)}")


def _doubt(by: Connector, error: Exception, proxy: Proxy | None) -> str:
    address = _address(by)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "")
            return f": the certificate at {address} is not trusted ({why or 'no reason given'})"
        case aiohttp.ClientSSLError():
            return f": the TLS handshake at {address} failed; should it begin with http://?"
        case aiohttp.ClientHttpProxyError(status=407):
            return f": {_unknown(proxy)}"
        case aiohttp.ClientHttpProxyError():
            return f": it does not let this through ({error.status})"
        case aiohttp.InvalidURL():
            return f": {address} is no address; does it begin with https:// or http://?"
        case aiohttp.ClientConnectorDNSError():
            return f": there is no such host; {_question(by, proxy)}"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f": nothing listens there; {_question(by, proxy)}"
        case aiohttp.ConnectionTimeoutError():
            return f": nobody there takes it in time; {_question(by, proxy)}"
        case _:
            return f"; {_question(by, proxy)}"


def _question(by: Connector, proxy: Proxy | None) -> str:
    """What somebody can look at."""
    if proxy:
        return f"is {proxy.setting} right and reachable?"
    if by.credentials.base_url == by.default_base_url != "":
        return f"does this machine reach {urlsplit(by.default_base_url).hostname}?"
    return f"is {_address(by)} right and reachable?"


def _proxy(by: Connector) -> Proxy | None:
    try:
        return proxy_of(by.credentials.base_url)
    except NoProxy:
        return None


def _unknown(proxy: Proxy | None) -> str:
    place = proxy.setting if proxy else "its address"
    return f"the proxy wants to know who asks; are a name and a password in {place}? (407)"


def late(by: Connector) -> ProviderError:
    return ProviderError(ErrorKind.TIMEOUT, f"{by.label} did not answer in time")


def cut(by: Connector) -> ProviderError:
    return ProviderError(ErrorKind.BROKEN, f"{by.label} broke off before its end mark")


def closed(by: Connector, code: int | None, reason: str = "") -> ProviderError:
    """A socket's end. Some servers tell what they do not accept by nothing but the code. Free text is not repeated."""
    error = cut(by)
    if code in _SAYS_NOTHING:
        return error
    if code in _ITS_OWN_FAULT:
        error = ProviderError(ErrorKind.SERVER, _say(by, ErrorKind.SERVER))
    elif code in _NOT_ACCEPTED:
        error = ProviderError(ErrorKind.REQUEST, _say(by, ErrorKind.REQUEST))
    named = _REASON.match(reason)
    said = f"close code {code}, {named[0]}" if named else f"close code {code}"
    return ProviderError(error.kind, f"{error.message} ({said})")


def garbage(by: Connector) -> ProviderError:
    return ProviderError(ErrorKind.BROKEN, f"{by.label} sent something that its protocol does not have")


def decoded(by: Connector, decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises what the protocol does not have."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise garbage(by) from None


def from_code(by: Connector, code: str) -> ProviderError:
    """An error told inside a stream, where there is no status. Free text is no code and is not repeated."""
    code = error_code({"code": code})
    kind = _IN_STREAM.get(code.lower(), ErrorKind.QUOTA if code.lower() in QUOTA_CODES else ErrorKind.SERVER)
    return ProviderError(kind, f"{_say(by, kind)} ({code or 'no reason given'})")


def in_stream(by: Connector, error: Any) -> ProviderError:
    """An error object inside a stream: some servers put the status there that they could no longer send."""
    status = _under(error, "code")
    if isinstance(status, int) and 400 <= status <= 599:
        return from_status(by, status, body={"error": error})
    return from_code(by, error_code({"error": error}))


@contextmanager
def finding(by: Connector) -> Iterator[None]:
    """Around a check: where nothing is at the address that somebody set, that is what is wrong, and no option."""
    try:
        yield
    except ProviderError as error:
        is_set = by.address_setting == by.base_url_setting and by.credentials.base_url != by.default_base_url
        if error.kind is not ErrorKind.REQUEST or error.status not in (404, 405) or not is_set:
            raise
        usual = by.default_base_url or by.example_base_url
        why = f"{by.label} is not found there ({error.status}); is {_address(by)} right? It looks like {usual}"
        raise ProviderError(error.kind, why, status=error.status) from None


@contextmanager
def told_by_http(by: Connector) -> Iterator[None]:
    """Around aiohttp requests and sockets."""
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise garbage(by) if error.status < 300 else from_status(by, error.status, error.headers) from None
    except _NOT_THERE as error:
        raise refused(by, error) from None
    except aiohttp.TooManyRedirects as error:
        raise from_status(by, error.status) from None
    except aiohttp.ClientResponseError:
        raise garbage(by) from None
    except TimeoutError:
        raise late(by) from None
    except (aiohttp.ClientError, ConnectionError):
        raise cut(by) from None


@contextmanager
def told_by_sdk(by: Connector, sdk: ModuleType) -> Iterator[None]:
    """Around requests and raw streams of the OpenAI and Anthropic SDKs, whose errors have one shape."""
    import httpx2

    try:
        yield
    except sdk.APIStatusError as error:
        raise from_status(by, error.status_code, error.response.headers, error.body) from None
    except (sdk.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError) as error:
        raise _from_causes(by, error) from None


def _from_causes(by: Connector, error: BaseException | None) -> ProviderError:
    """The SDKs' transport calls every connection that failed a timeout; what was raised first says what happened."""
    while error is not None:
        if isinstance(error, _NOT_THERE):
            return refused(by, error)
        if isinstance(error, aiohttp.ClientResponseError):
            return garbage(by)
        if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
            return late(by)
        error = error.__cause__
    return cut(by)


def error_code(body: Any) -> str:
    """A provider's short name for the error: OpenAI, Anthropic, ElevenLabs and Deepgram each have their own place."""
    for place in (_under(body, "error"), _under(body, "detail"), body):
        for key in ("code", "type", "status", "err_code", "error"):
            value = _under(place, key)
            if isinstance(value, str) and _CODE.fullmatch(value) and value != "error":
                return value
    return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; the header may hold seconds or a date, and some providers say it in milliseconds, too."""
    if exact := _number(headers.get("retry-after-ms", "")):
        return exact / 1000
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    seconds = _number(value)
    return _seconds_until(value) if seconds is None else max(0.0, seconds)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_IN_STREAM = {
    "invalid_api_key": ErrorKind.AUTH,
    "authentication_error": ErrorKind.AUTH,
    "auth_error": ErrorKind.AUTH,
    "unaccepted_terms": ErrorKind.AUTH,
    "permission_error": ErrorKind.AUTH,
    "rate_limit_error": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "rate_limited": ErrorKind.RATE_LIMIT,
    "queue_overflow": ErrorKind.RATE_LIMIT,
    "commit_throttled": ErrorKind.RATE_LIMIT,
    "too_many_concurrent_requests": ErrorKind.RATE_LIMIT,
    "invalid_request_error": ErrorKind.REQUEST,
    "invalid_request": ErrorKind.REQUEST,
    "invalid_prompt": ErrorKind.REQUEST,
    "bio_policy": ErrorKind.REQUEST,
    "misalignment_policy_violation": ErrorKind.REQUEST,
    "data_residency_mismatch": ErrorKind.REQUEST,
    "input_error": ErrorKind.REQUEST,
    "chunk_size_exceeded": ErrorKind.REQUEST,
    "voice_id_does_not_exist": ErrorKind.REQUEST,
    "voice_not_found": ErrorKind.REQUEST,
    "max_active_conversations": ErrorKind.RATE_LIMIT,
}


def _kind(status: int) -> ErrorKind:
    match status:
        case _ if 300 <= status < 400:
            return ErrorKind.REFUSED
        case 401 | 403:
            return ErrorKind.AUTH
        case 402:
            return ErrorKind.QUOTA
        case 408 | 504:
            return ErrorKind.TIMEOUT
        case 429:
            return ErrorKind.RATE_LIMIT
        case _ if status >= 500:
            return ErrorKind.SERVER
        case _:
            return ErrorKind.REQUEST


def _not_allowed(by: Connector) -> str:
    """The key may be right: a model, a format or a socket that it has no right to is refused like this, too."""
    place = _key_place(by)
    return f"{by.label} does not allow this with the key in {place}; do its rights and its plan include the model?"


def _say(by: Connector, kind: ErrorKind) -> str:
    match kind:
        case ErrorKind.REFUSED:
            return f"the address of {by.label} leads to another one, where nothing is sent; is {_address(by)} right?"
        case ErrorKind.AUTH:
            return f"{by.label} does not accept the key in {_key_place(by)}"
        case ErrorKind.QUOTA:
            return f"the quota at {by.label} is used up"
        case ErrorKind.RATE_LIMIT:
            return f"{by.label} asks for fewer requests"
        case ErrorKind.TIMEOUT:
            return f"{by.label} did not answer in time"
        case ErrorKind.SERVER:
            return f"{by.label} has an error of its own"
        case _:
            return f"{by.label} does not accept what was asked; check the options of “{by.slug}”"


def _key_place(by: Connector) -> str:
    return "the workspace's credential" if by.credentials.is_own else by.key_setting


def _address(by: Connector) -> str:
    """By the name of what people set to change it."""
    if by.credentials.is_own or not by.address_setting:
        return (
            f"its {next((one.label.lower() for one in by.more_settings if one.name == by.address_setting), 'address')}"
        )
    return by.address_setting


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None


def _under(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _seconds_until(date: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
