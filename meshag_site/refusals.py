"""Requests that are refused because somebody has bent their address or form: one line in the log, no trace."""

import logging


def tell_in_one_line(record: logging.LogRecord) -> bool:
    """Django tells them as errors of this program; they are the asker's."""
    if record.name.startswith("django.security."):
        record.exc_info, record.exc_text = None, None
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True
