"""A session's configuration document as a form: the parts that are changed most, and the whole of it."""

import copy
import json
from typing import Any

from annotated_types import Ge, Le
from django import forms
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mesh.config.document import AgentConfig, Limits, TurnOptions
from mesh.config.json_text import load_json, revision
from mesh.config.problems import ConfigError
from mesh.config.reading import read
from sessions_app.switchboard import Refused, TransportAway

WHOLE = "document"
MADE_FROM = "revision"
STEP = "0.01"
PARTS: dict[str, type[BaseModel]] = {"turn": TurnOptions, "limits": Limits}


def _part_fields() -> dict[str, forms.Field]:
    """From what the document's own types declare: titles, words and ranges."""
    fields: dict[str, forms.Field] = {}
    for part, model in PARTS.items():
        for name, info in model.model_fields.items():
            label, text = info.title or name, info.description or ""
            if info.annotation is str:
                fields[f"{part}.{name}"] = forms.CharField(required=False, label=label, help_text=text)
            elif info.annotation is int:
                fields[f"{part}.{name}"] = forms.IntegerField(label=label, help_text=text, step_size=1, **_range(info))
            else:
                fields[f"{part}.{name}"] = forms.FloatField(label=label, help_text=text, **_range(info))
    return fields


def _range(info: FieldInfo) -> dict[str, Any]:
    """What the browser shall keep to; the document is checked again as a whole."""
    low = next((rule.ge for rule in info.metadata if isinstance(rule, Ge)), None)
    high = next((rule.le for rule in info.metadata if isinstance(rule, Le)), None)
    return {"min_value": low, "max_value": high}


def _step(value: Any) -> str:
    """A finer value than the steps, which a document may have, must not be refused by the browser."""
    return STEP if isinstance(value, int | float) and round(value, 2) == value else "any"


class ConfigForm(forms.Form):
    """Only what was changed in the simple fields is put into the document; the document is what holds.

    The form knows what it was made from, so that it cannot undo what somebody else changes meanwhile.
    """

    system_prompt = forms.CharField(required=False, label="System prompt", widget=forms.Textarea(attrs={"rows": 8}))
    greeting = forms.CharField(required=False, help_text="Said first, when a call begins.")
    apology = forms.CharField(
        required=False,
        label=AgentConfig.model_fields["apology"].title,
        help_text=AgentConfig.model_fields["apology"].description or "",
    )

    def __init__(self, data: Any, *, document: dict[str, Any]) -> None:
        super().__init__(
            data, label_suffix="", initial=_flat(document) | {WHOLE: json.dumps(document, indent=2, ensure_ascii=False)}
        )
        self.fields.update(_part_fields())
        area = forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "mono"})
        self.fields[WHOLE] = forms.CharField(label="The whole document", widget=area, required=False)
        self.fields[MADE_FROM] = forms.CharField(required=False, widget=forms.HiddenInput)
        self.initial[MADE_FROM] = revision(document)
        for name, field in self.fields.items():
            if isinstance(field, forms.FloatField):
                field.widget.attrs["step"] = _step(self.initial[name])
        self.document: dict[str, Any] = document

    @property
    def is_outdated(self) -> bool:
        """The configuration is no longer the one that the form was made from."""
        return self.is_bound and MADE_FROM in self.changed_data

    def written(self) -> list[tuple[str, str]]:
        """What was sent and does not hold now, by its label."""
        names = [name for name in self.changed_data if name != MADE_FROM]
        return [(str(self[name].label), str(self[name].value())) for name in names]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            self.document = self._merged(cleaned)
            read(self.document)
        except ConfigError as error:
            for problem in error.problems[:20]:
                self._complain(problem.path, problem.message)
        return cleaned

    def refuse(self, error: TransportAway | Refused) -> None:
        """What the transport says, next to what it is about."""
        for detail in getattr(error, "detail", ())[:20]:
            self._complain(detail.path, detail.message)
        if not self.errors:
            self.add_error(None, str(error))

    def _merged(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """The written document, with those simple fields that were changed."""
        loaded = load_json(cleaned[WHOLE])
        read(loaded)
        assert isinstance(loaded, dict)
        document = copy.deepcopy(loaded)
        for name in self.changed_data:
            if name not in (WHOLE, MADE_FROM):
                _put(document, name.split("."), cleaned[name])
        return document

    def _complain(self, path: str, message: str) -> None:
        field = path if path in self.fields else WHOLE
        self.add_error(field, f"{path}: {message}" if path and field == WHOLE else message)


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """What the simple fields show: what the document says, else what holds without it."""
    values: dict[str, Any] = {
        "system_prompt": document.get("system_prompt", ""),
        "greeting": document.get("greeting", ""),
        "apology": document.get("apology", AgentConfig.model_fields["apology"].default),
    }
    for part, model in PARTS.items():
        said = document.get(part)
        for name, info in model.model_fields.items():
            values[f"{part}.{name}"] = said.get(name, info.default) if isinstance(said, dict) else info.default
    return values


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value
