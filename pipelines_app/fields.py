"""Fields of the agent's form that hold more than a text."""

import json
from typing import Any

from django import forms

from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError


class WordsField(forms.CharField):
    """“booking, german” for a list of words."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return list(dict.fromkeys(word.strip() for word in str(value or "").split(",") if word.strip()))


class VariablesField(forms.CharField):
    """A JSON object of any values."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, indent=2, ensure_ascii=False) if value else ""
        return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict) or not str(value or "").strip():
            return value or {}
        try:
            loaded = load_json(str(value))
        except ConfigError as error:
            raise forms.ValidationError([f"This {problem.message}." for problem in error.problems]) from None
        if not isinstance(loaded, dict):
            raise forms.ValidationError("This must be one JSON object: it starts with { and ends with }.")
        return loaded
