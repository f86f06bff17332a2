"""What an address must look like before anything is sent there."""

from urllib.parse import urlsplit


def address_problem(value: str) -> str:
    """Words that follow the name of the setting or field; empty when it is an address."""
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is no address"
    if parts.scheme not in ("https", "http"):
        return "must begin with https:// or http://"
    if not is_whole or not value.isprintable() or any(character.isspace() for character in value):
        return "is no address"
    if parts.username is not None or parts.query or parts.fragment:
        return "must be an address without a password or a query"
    return ""
