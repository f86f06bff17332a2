"""Log lines with their fields: `level logger message key=value`. No speech, prompt or key is ever a field."""

import logging

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"

_KNOWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_WHOLE = {"request", "server_time"}
"""What Django attaches to its lines, which say the same; a request's address may hold a secret."""


class FieldFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = [f"{key}={value!r}" for key, value in vars(record).items() if key not in _KNOWN | _WHOLE]
        if not fields:
            return line
        first, newline, rest = line.partition("\n")
        return f"{first} {' '.join(fields)}{newline}{rest}"


def configure(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter(LINE))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("aiohttp.access", "httpx", "httpx2", "httpcore", "websockets", "nats"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
