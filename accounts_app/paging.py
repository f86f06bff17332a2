"""Pages of rows by a cursor: what is added meanwhile moves no page, and no page costs more than the first."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from django.core.exceptions import ValidationError as BadValue
from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

ON_A_PAGE = 50
MOST_ON_A_PAGE = 200
BAD_CURSOR = "is none of ours; take the one that `next` names, or leave it out"


class Cursors(BasePagination):
    """The view's `order` are columns that are unique together, all ascending or all descending (`-`)."""

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self._request = request
        self._columns = [name.lstrip("-") for name in view.order]
        limit = _limit(request.query_params.get("limit"))
        beyond = "lt" if view.order[0].startswith("-") else "gt"
        rows = queryset.order_by(*view.order)
        if cursor := request.query_params.get("cursor"):
            rows = rows.filter(_beyond(_opened(cursor, queryset.model, self._columns), beyond))
        found = list(rows[: limit + 1])
        self._last = found[limit - 1] if len(found) > limit else None
        return found[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next(), "results": data})

    def _next(self) -> str | None:
        if self._last is None:
            return None
        place = [str(_value(self._last, column)) for column in self._columns]
        cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
        query = [(key, value) for key, value in self._request.query_params.items() if key != "cursor"]
        return f"{self._request.build_absolute_uri(self._request.path)}?{urlencode([*query, ('cursor', cursor)])}"

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {
            "type": ["string", "null"],
            "format": "uri",
            "example": "https://example.org/api/v1/agents?cursor=WyI0MSJd",
            "description": "The next page; null on the last one.",
        }
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MOST_ON_A_PAGE, "default": ON_A_PAGE}
        cursor = {"type": "string"}
        return [
            _parameter("limit", limit, "Rows on a page."),
            _parameter("cursor", cursor, "Where the page begins: taken from `next` of the page before."),
        ]


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": dict(schema), "description": description}


def _limit(text: str | None) -> int:
    if text is None:
        return ON_A_PAGE
    if text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST_ON_A_PAGE:
        return int(text)
    raise ValidationError({"limit": [f"must be 1 to {MOST_ON_A_PAGE}"]})


def _opened(cursor: str, model: type[Model], columns: list[str]) -> dict[str, Any]:
    """The values of the last row that was shown."""
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    if not isinstance(place, list) or len(place) != len(columns) or not all(isinstance(each, str) for each in place):
        raise ValidationError({"cursor": [BAD_CURSOR]})
    return {column: _read(text, model, column) for column, text in zip(columns, place, strict=True)}


def _read(text: str, model: type[Model], column: str) -> Any:
    try:
        value = cast(Any, model._meta.get_field(column)).to_python(text)
    except (BadValue, OverflowError, ValueError):
        value = None
    storable = "\0" not in value if isinstance(value, str) else value is not None
    if isinstance(value, int):
        storable = abs(value) < 2**63
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        storable = False
    if not storable or getattr(value, "tzinfo", True) is None:
        raise ValidationError({"cursor": [BAD_CURSOR]})
    return value


def _beyond(place: Mapping[str, Any], beyond: str) -> Q:
    """Row values compared from the left: the first column that differs decides."""
    wanted, same = Q(), Q()
    for column, value in place.items():
        wanted |= same & Q(**{f"{column}__{beyond}": value})
        same &= Q(**{column: value})
    return wanted


def _value(row: Any, column: str) -> Any:
    value = getattr(row, column)
    return value.isoformat() if hasattr(value, "isoformat") else value
