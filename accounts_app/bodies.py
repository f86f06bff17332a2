"""What the API takes: strict JSON of a bounded size, and bodies without fields that nobody reads."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError

MAX_BODY = 512 * 1024


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = f"The body is larger than {MAX_BODY // 1024} KiB."


class StrictJSON(BaseParser):
    """No NaN, no key twice, no depth that a reader could not follow."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise TooLarge
        try:
            return load_json(body)
        except ConfigError as error:
            raise ParseError(f"The body {error.problems[0].message}.") from None


class Strict(serializers.Serializer[Any]):
    """Names each field that it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            allowed = ", ".join(self.fields)
            message = f"is not a field of this request; allowed: {allowed}"
            raise serializers.ValidationError({str(name)[:64]: [message] for name in unknown[:20]})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """As it was sent: a number is no text, and nothing is trimmed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Line(Text):
    """Text without line breaks and other control characters."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise serializers.ValidationError("must be one line, without control characters")
        return text


class Document(serializers.JSONField):
    """Any JSON object; whether it is a configuration document is told apart from this."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object")
        return data


class Nothing(Strict):
    """A request without a body, or with `{}`."""
