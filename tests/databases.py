"""The tests' own database, as a setting for programs that are started beside them."""

from urllib.parse import quote

from django.db import connection


def database_url() -> str:
    settings = {name: str(value) for name, value in connection.settings_dict.items()}
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    user = ":".join(quote(settings[name], safe="") for name in ("USER", "PASSWORD"))
    return f"{connection.vendor}://{user}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
