"""What the log has of a request that is refused."""

import io
import logging
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts_app.models import User
from meshag_site.refusals import tell_in_one_line
from tests.world import signed_in


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the console would show."""
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(tell_in_one_line)
    logger = logging.getLogger("django.security")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_bent_address_is_one_line(operator: User, written: io.StringIO) -> None:
    answer = signed_in(operator).get("/admin/accounts_app/apikey/?created_by__password__startswith=a")
    assert answer.status_code == 400
    assert written.getvalue().startswith("WARNING ") and written.getvalue().count("\n") == 1


def test_the_console_tells_so(settings: Settings) -> None:
    assert settings.LOGGING["filters"]["refusals"]["callback"] is tell_in_one_line
    assert settings.LOGGING["handlers"]["console"]["filters"] == ["refusals"]
