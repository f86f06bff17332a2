"""Makes a form of a Pydantic model: ranges, choices and help from the declaration, and what is left empty stays unset.

It serves the providers' Options and the parts of the configuration document alike. A value that the form does not
change stays exactly as its author wrote it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from django import forms
from django.core.validators import MaxLengthValidator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from connectors_app.model_names import RETIRED

LONG_TEXT = 300
"""Texts that may be longer than this get several lines."""
NOTHING = "-nothing"
"""Ends the name of the box that sends null where leaving the field empty would mean the default."""


class Unset:
    """The option is not in the document."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Choice:
    key: str
    label: str
    value: JsonValue


class TextField(forms.CharField):
    """Browsers send line breaks in a form of their own."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


class LinesField(forms.CharField):
    """A list of texts, one a line. A line break within one is written \\n, a backslash \\\\."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return "\n".join(str(item).replace("\\", r"\\").replace("\n", r"\n") for item in value)
        return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return list(value)
        lines = str(value or "").replace("\r\n", "\n").split("\n")
        return [_unescaped(line) for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))


class PairsField(forms.CharField):
    """An object of texts: a name, a colon and the value on each line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return "\n".join(f"{name}: {text}" for name, text in value.items())
        return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)
        lines = [line for line in str(value or "").splitlines() if line.strip()]
        if wrong := next((number for number, line in enumerate(lines, start=1) if ":" not in line), 0):
            raise forms.ValidationError(f"Line {wrong} has no colon between the name and the value.")
        pairs = [line.partition(":") for line in lines]
        found = {name.strip(): text.strip() for name, _, text in pairs}
        if len(found) < len(lines):
            raise forms.ValidationError("A name stands there twice.")
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(self.prepare_value(initial)) != self.to_python(data))
        except forms.ValidationError:
            return True


class SuggestingInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """Takes any text, and has some to choose from."""

    def __init__(self, suggestions: Mapping[str, str], attrs: dict[str, Any]) -> None:
        super().__init__(attrs)
        self.suggestions = suggestions

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        place = f"{(attrs or {}).get('id', name)}-known"
        field = super().render(name, value, {**(attrs or {}), "list": place}, renderer)
        options = format_html_join("", '<option value="{}">{}</option>', self.suggestions.items())
        return format_html('{}<datalist id="{}">{}</datalist>', field, place, options)


def _unescaped(line: str) -> str:
    return re.sub(r"\\(\\|n)", lambda found: "\n" if found[1] == "n" else "\\", line)


class OptionForm(forms.Form):
    """One model's options. `stored` is what the document says of them, whatever else may stand there."""

    options_model: ClassVar[type[BaseModel]]  # not `model`: that is the name of an option

    def __init__(self, stored: Mapping[str, JsonValue], **settings: Any) -> None:
        self.stored = stored
        known = {name: _as_key(stored[name]) for name in self.base_fields if stored.get(name) is not None}
        nothing = {name + NOTHING: name in stored and stored[name] is None for name in self.base_fields}
        super().__init__(initial={**known, **nothing}, **settings)

    def options(self) -> dict[str, JsonValue]:
        """What the document says from now on: everything that was not changed stays as it was."""
        merged = dict(self.stored)
        for name in self.options_model.model_fields:
            if name not in self.fields or not self._is_touched(name):
                continue
            value = self._value(name)
            if isinstance(value, Unset):
                merged.pop(name, None)
            else:
                merged[name] = value
        return merged

    def option_fields(self) -> list[tuple[forms.BoundField, forms.BoundField | None]]:
        """Each option's field, and the box that belongs to it where there is one."""
        names = [name for name in self.options_model.model_fields if name in self.fields]
        return [(self[name], self[name + NOTHING] if name + NOTHING in self.fields else None) for name in names]

    def how_many_set(self) -> int:
        return sum(name in self.stored for name in self.fields)

    def _is_touched(self, name: str) -> bool:
        return name in self.changed_data or name + NOTHING in self.changed_data

    def _value(self, name: str) -> JsonValue | Unset:
        if self.cleaned_data.get(name + NOTHING):
            return None
        value = self.cleaned_data.get(name)
        if value is None or value in ("", [], {}):
            return UNSET
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value  # type: ignore[no-any-return]


def option_form(model: type[BaseModel], *, exclude: frozenset[str] = frozenset()) -> type[OptionForm]:
    """Secrets are never asked for, and what is an object of more than texts stays as the document has it."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        kind, is_nullable = _kind(info.annotation)
        field = None if name in exclude else _field(name, kind, info)
        if field is None:
            continue
        fields[name] = field
        if is_nullable and info.default is not None and info.default is not PydanticUndefined:
            fields[name + NOTHING] = forms.BooleanField(
                label=f"Send no {_words(name).lower()} at all", required=False, widget=UnfoldBooleanWidget()
            )
    return type(f"{model.__name__}Form", (OptionForm,), {**fields, "options_model": model})


# -- one field -------------------------------------------------------------------------------------------


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type without its `| None`, and whether it had one."""
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        if len(inner) == 1:
            return inner[0], len(inner) < len(get_args(annotation))
    return annotation, False


def _field(name: str, kind: Any, info: FieldInfo) -> forms.Field | None:
    shared: dict[str, Any] = {
        "label": info.title or _words(name),
        "required": info.is_required(),
        "help_text": info.description or "",
    }
    if get_origin(kind) is tuple:
        return _lines(info, shared)
    if get_origin(kind) is dict and get_args(kind) == (str, str):
        return _pairs(shared)
    if choices := _choices(kind):
        return _select(choices, info, shared)
    if kind in (int, float):
        return _number(kind, info, shared)
    if kind is str:
        return _text(info, shared)
    return None


def _number(kind: type[int | float], info: FieldInfo, shared: dict[str, Any]) -> forms.Field:
    low = _bound(info, Ge, "ge") if _bound(info, Ge, "ge") is not None else _bound(info, Gt, "gt")
    high = _bound(info, Le, "le") if _bound(info, Le, "le") is not None else _bound(info, Lt, "lt")
    if low is not None and high is not None:
        shared["help_text"] = _sentence(shared["help_text"], f"From {_shown(low)} to {_shown(high)}.")
    field = forms.IntegerField if kind is int else forms.FloatField
    widget = UnfoldAdminIntegerFieldWidget(_placeholder(info))
    return field(min_value=low, max_value=high, widget=widget, **shared)


def _text(info: FieldInfo, shared: dict[str, Any]) -> forms.Field:
    longest = _bound(info, MaxLen, "max_length")
    attrs = _placeholder(info)
    if len(info.examples or ()) > 1:
        return TextField(max_length=longest, widget=SuggestingInput(_suggestions(info), attrs), **shared)
    if longest and longest > LONG_TEXT:
        return TextField(
            max_length=longest, strip=False, widget=UnfoldAdminTextareaWidget({**attrs, "rows": 3}), **shared
        )
    return TextField(max_length=longest, widget=UnfoldAdminTextInputWidget(attrs), **shared)


def _suggestions(info: FieldInfo) -> dict[str, str]:
    """Each text with what is said of it."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    retired = extra.get(RETIRED)
    gone = retired if isinstance(retired, list) else []
    return {str(text): "no longer served" if text in gone else "" for text in info.examples or ()}


def _lines(info: FieldInfo, shared: dict[str, Any]) -> forms.Field:
    most = _bound(info, MaxLen, "max_length")
    shared["help_text"] = _sentence(shared["help_text"], f"One a line{f', at most {most}' if most else ''}.")
    if most:
        shared["validators"] = [MaxLengthValidator(most, f"May have {most} lines at most.")]
    return LinesField(strip=False, widget=UnfoldAdminTextareaWidget({"rows": 3}), **shared)


def _pairs(shared: dict[str, Any]) -> forms.Field:
    shared["help_text"] = _sentence(shared["help_text"], "One a line, with a colon after the name.")
    return PairsField(strip=False, widget=UnfoldAdminTextareaWidget({"rows": 3}), **shared)


def _select(choices: Sequence[Choice], info: FieldInfo, shared: dict[str, Any]) -> forms.Field:
    usual = next((choice.label for choice in choices if choice.value == info.default), "")
    empty = [] if info.is_required() else [("", f"Default ({usual})" if usual else "Default")]
    values = {choice.key: choice.value for choice in choices}
    return forms.TypedChoiceField(
        choices=[*empty, *((choice.key, choice.label) for choice in choices)],
        coerce=lambda key: values.get(key, key),
        empty_value=None,
        widget=UnfoldAdminSelectWidget(),
        **shared,
    )


def _choices(kind: Any) -> tuple[Choice, ...]:
    if kind is bool:
        return Choice("true", "Yes", True), Choice("false", "No", False)
    if get_origin(kind) is Literal:
        return tuple(Choice(str(value), str(value), value) for value in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(Choice(str(member.value), str(member.value), member.value) for member in kind)
    return ()


def _bound(info: FieldInfo, kind: type, name: str) -> Any:
    return next((getattr(item, name) for item in info.metadata if isinstance(item, kind)), None)


def _placeholder(info: FieldInfo) -> dict[str, Any]:
    if info.default is PydanticUndefined or info.default in (None, ""):
        return {}
    return {"placeholder": f"default: {_shown(info.default)}"}


def _as_key(value: JsonValue) -> JsonValue:
    """As a select field names it."""
    return str(value).lower() if isinstance(value, bool) else value


def _shown(value: Any) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _sentence(text: str, more: str) -> str:
    return f"{text.rstrip('.')}. {more}" if text else more


def _words(name: str) -> str:
    """`max_tokens` as “Max tokens”, `stop_ms` as “Stop (ms)”."""
    words, _, unit = name.rpartition("_")
    if words and unit in ("ms", "s"):
        name = f"{words} ({'ms' if unit == 'ms' else 'seconds'})"
    name = name.replace("_", " ")
    return name[:1].upper() + name[1:]
