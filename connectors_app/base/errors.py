"""How a provider fails."""

from enum import StrEnum


class ErrorKind(StrEnum):
    UNCONFIGURED = "unconfigured"  # no key
    REFUSED = "refused"  # no connection: DNS, TCP, TLS
    AUTH = "auth"  # 401, 403
    REQUEST = "request"  # the provider does not accept what was asked: 400, 404, 422
    QUOTA = "quota"  # 402, quota used up
    RATE_LIMIT = "rate_limit"  # 429
    SERVER = "server"  # 5xx
    TIMEOUT = "timeout"  # nothing in time
    BROKEN = "broken"  # cut, garbage, or an end without the provider's end mark
    EMPTY = "empty"  # a well-formed answer with nothing in it


class ProviderError(Exception):
    """`message` is for people: plain words, no key, no caller data. `retry_after` in seconds."""

    def __init__(
        self, kind: ErrorKind, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after
