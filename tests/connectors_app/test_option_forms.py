import re
from enum import StrEnum
from typing import Any, Literal

import pytest
from django import forms
from django.http import QueryDict
from pydantic import BaseModel, Field, JsonValue, SecretStr

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.option_forms import NOTHING, OptionForm, option_form


class Tone(StrEnum):
    CALM = "calm"
    MERRY = "merry"


class Example(BaseModel):
    model: str = Field("small", description="Name of the model")
    voice: str = Field(description="Name of the voice")
    rate: int = Field(165, ge=80, le=450, description="Words per minute")
    warmth: float | None = Field(0.7, ge=0, le=2)
    loud: bool = True
    soft: bool | None = None
    shape: Literal["json", "text"] = "json"
    tone: Tone | None = None
    stop: tuple[str, ...] | None = Field(None, max_length=4)
    instructions: str = Field("", max_length=4000)
    password: SecretStr = SecretStr("")
    headers: dict[str, str] = {}
    nested: dict[str, int] = {}


ExampleForm = option_form(Example)


def sent(form: OptionForm, **changes: Any) -> QueryDict:
    """What a browser sends of this form, with some fields changed."""
    data = QueryDict(mutable=True)
    for field in form:
        value = changes.get(field.name, field.value())
        if value is not None and value is not False:
            data[field.html_name] = "on" if value is True else value
    return data


def after(stored: dict[str, JsonValue], **changes: Any) -> dict[str, JsonValue]:
    """The options that a document has when its form was changed so."""
    form = ExampleForm(stored, data=sent(ExampleForm(stored), **changes))
    assert form.is_valid(), form.errors
    return form.options()


STORED: dict[str, JsonValue] = {
    "voice": "Ada",
    "rate": 165,
    "warmth": 0,
    "loud": False,
    "soft": None,
    "stop": ["\n", "a\\b"],
    "instructions": "",
    "unknown": {"kept": 1},
}


def test_what_is_not_changed_stays_as_written() -> None:
    assert after(STORED) == STORED


def test_unset_stays_unset() -> None:
    assert after({"voice": "Ada"}) == {"voice": "Ada"}


def test_emptying_a_field_unsets_it() -> None:
    assert after({"voice": "Ada", "rate": 200, "stop": ["a"]}, rate="", stop="") == {"voice": "Ada"}


@pytest.mark.parametrize(
    ("field", "value", "becomes"),
    [
        ("rate", "200", 200),
        ("warmth", "1.5", 1.5),
        ("warmth", "1", 1),
        ("loud", "false", False),
        ("soft", "true", True),
        ("shape", "text", "text"),
        ("tone", "merry", "merry"),
        ("stop", "one\r\n\r\ntwo\\nthree\\\\n", ["one", "two\nthree\\n"]),
        ("instructions", "Speak\r\nslowly.", "Speak\nslowly."),
        ("model", " large ", "large"),
    ],
)
def test_a_change_is_typed(field: str, value: str, becomes: JsonValue) -> None:
    assert after({"voice": "Ada"}, **{field: value}) == {"voice": "Ada", field: becomes}


def test_null_is_chosen_by_its_box() -> None:
    assert after({"voice": "Ada", "warmth": 1}, **{"warmth" + NOTHING: True}) == {"voice": "Ada", "warmth": None}
    assert after({"voice": "Ada", "warmth": None}) == {"voice": "Ada", "warmth": None}
    stored: dict[str, JsonValue] = {"voice": "Ada", "warmth": None}
    assert after(stored, **{"warmth" + NOTHING: False}) == {"voice": "Ada"}


@pytest.mark.parametrize(("field", "value"), [("rate", "79"), ("rate", "x"), ("warmth", "2.1"), ("shape", "xml")])
def test_what_is_out_of_range_is_refused(field: str, value: str) -> None:
    form = ExampleForm({}, data=sent(ExampleForm({"voice": "Ada"}), **{field: value}))
    assert list(form.errors) == [field]


def test_too_many_lines_are_refused_at_once() -> None:
    form = ExampleForm({}, data=sent(ExampleForm({"voice": "Ada"}), stop="a\nb\nc\nd\ne", rate="79"))
    assert form.errors["stop"] == ["May have 4 lines at most."] and "rate" in form.errors


def test_what_has_no_default_is_required() -> None:
    assert ExampleForm({}, data=QueryDict()).errors == {"voice": ["This field is required."]}


@pytest.mark.parametrize(
    ("lines", "headers"),
    [("X-A: 1\r\nX-B:  a: b \r\n\r\n", {"X-A": "1", "X-B": "a: b"}), ("X-A:", {"X-A": ""}), ("", None)],
)
def test_an_object_of_texts_has_a_line_for_each(lines: str, headers: dict[str, JsonValue] | None) -> None:
    expected: dict[str, JsonValue] = {"voice": "Ada"} | ({} if headers is None else {"headers": headers})
    assert after({"voice": "Ada", "headers": {"X-C": "3"}}, headers=lines) == expected


def test_an_unchanged_object_stays_as_it_was() -> None:
    stored: dict[str, JsonValue] = {"voice": "Ada", "headers": {"X-A": 1, "X-B": "a: b"}}
    assert ExampleForm(stored)["headers"].value() == "X-A: 1\nX-B: a: b"
    assert after(stored) == stored


@pytest.mark.parametrize("lines", ["X-A 1", "X-A: 1\nX-A: 2"])
def test_lines_that_are_no_object_are_refused(lines: str) -> None:
    form = ExampleForm({}, data=sent(ExampleForm({"voice": "Ada"}), headers=lines))
    assert list(form.errors) == ["headers"]


def test_secrets_and_objects_have_no_field() -> None:
    assert not {"password", "nested"} & set(ExampleForm.base_fields)


def test_the_declaration_shows_in_the_field() -> None:
    rate = ExampleForm.base_fields["rate"]
    assert (rate.label, rate.help_text) == ("Rate", "Words per minute. From 80 to 450.")
    assert rate.widget.attrs["placeholder"] == "default: 165"
    assert isinstance(ExampleForm.base_fields["instructions"].widget, forms.Textarea)
    loud = ExampleForm.base_fields["loud"]
    assert list(loud.widget.choices) == [("", "Default (Yes)"), ("true", "Yes"), ("false", "No")]


@pytest.mark.parametrize("role", Role)
def test_every_option_of_every_provider_has_a_field(role: Role) -> None:
    for slug in registry.names(role):
        options = registry.get(role, slug).Options
        assert set(options.model_fields) <= set(option_form(options).base_fields), slug


MODELS = {"eleven_flash_v2_5", "eleven_v3"}


@pytest.mark.parametrize(("role", "slug"), [(role, slug) for role in Role for slug in registry.names(role)])
def test_help_is_in_words_for_people(role: Role, slug: str) -> None:
    """The form's own labels, not the document's keys; what a model is called is its name."""
    for name, field in option_form(registry.get(role, slug).Options).base_fields.items():
        keys = set(re.findall(r"\b[a-z]\w*_\w+\b|\bnull\b", str(field.help_text)))
        assert not keys - MODELS, f"{name}: {field.help_text}"
