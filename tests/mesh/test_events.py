"""The envelope of canonical events: what is written is read, also by the version before and the one after."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import events
from mesh.events import TYPES, BadEvent, Event, Stored

WORDS = st.text(max_size=20)
NUMBERS = st.integers(-(2**31), 2**31)
DEEP = b"[" * 100_000 + b"]" * 100_000
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: NUMBERS,
    bool: st.booleans(),
    tuple[int, ...]: st.lists(NUMBERS, max_size=3).map(tuple),
    dict[str, Any]: st.dictionaries(WORDS, WORDS, max_size=3),
    dict[str, int]: st.dictionaries(WORDS, NUMBERS, max_size=3),
    dict[str, str]: st.dictionaries(WORDS, WORDS, max_size=3),
    dict[str, str] | None: st.none() | st.dictionaries(WORDS, WORDS, max_size=3),
}


def values(kind: type[Event]) -> st.SearchStrategy[dict[str, Any]]:
    """Any values of an event's fields."""
    fields = msgspec.structs.fields(kind)
    return st.fixed_dictionaries({field.name: _of_type(field.type) for field in fields})


def _of_type(wanted: Any) -> st.SearchStrategy[Any]:
    """What is none of the usual types is a closed set of words."""
    return VALUES[wanted] if wanted in VALUES else st.sampled_from(get_args(wanted))


ANY_EVENT = st.sampled_from(list(TYPES.values())).flatmap(lambda kind: values(kind).map(lambda given: kind(**given)))


def encode(event: Event, n: int = 1) -> bytes:
    return events.encode(event, session="s-1", stage="stt", epoch=2, n=n, at=12.5)


def decode(data: bytes) -> Stored:
    return events.decode(data, sequence=7, subject="stt.output.s-1")


def changed(envelope: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(envelope), **changes}).encode()


@given(ANY_EVENT)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    stored = decode(encode(event))
    assert stored.event == event
    assert stored.type == event.type() == type(event).type()


def test_the_envelope_says_whose_it_is() -> None:
    stored = decode(encode(events.SpeechStarted(utterance=1, sample=2), n=9))
    assert (stored.id, stored.session, stored.stage, stored.epoch) == ("s-1:stt:2:9", "s-1", "stt", 2)
    assert (stored.at, stored.sequence, stored.subject) == (12.5, 7, "stt.output.s-1")


def test_types_have_names_of_their_own() -> None:
    assert len(TYPES) == len(Event.__subclasses__())
    assert all(name == name.lower() and name.replace(".", "").isalpha() for name in TYPES)


def test_an_unknown_type_is_no_error() -> None:
    """A later version writes it; this one leaves it out."""
    stored = decode(changed(encode(events.Dtmf(digits="1")), type="caller.waved", data={"hand": "left"}))
    assert (stored.event, stored.type) == (None, "caller.waved")


@given(ANY_EVENT)
def test_unknown_fields_are_ignored(event: Event) -> None:
    data = json.loads(encode(event))["data"]
    later = changed(encode(event), v=2, trace="new", data={**data, "mood": {"joy": 3}})
    assert decode(later).event == event


@given(ANY_EVENT)
def test_what_the_version_before_left_out_has_its_default(event: Event) -> None:
    """Optional fields that are not there: the event of a writer that does not know them."""
    fields = msgspec.structs.fields(type(event))
    needed = {field.name for field in fields if field.required}
    data = {name: value for name, value in json.loads(encode(event))["data"].items() if name in {*needed, "type"}}
    read = decode(changed(encode(event), data=data)).event
    assert read == type(event)(**{name: getattr(event, name) for name in needed})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id": "\xff"}',
        b'{"id": "x", "type": "dtmf"}',
        b'{"id": ' + b"[" * 100_000,
        encode(events.Dtmf(digits="1")).replace(
            b'"digits"', b'"more":' + b"[" * 100_000 + b"]" * 100_000 + b',"digits"'
        ),
        changed(encode(events.Dtmf(digits="1")), data={"type": "dtmf", "digits": 1}),
        changed(encode(events.Dtmf(digits="1")), data={"type": "dtmf"}),
        changed(encode(events.Dtmf(digits="1")), data={"type": "usage", "digits": "1"}),
        changed(encode(events.Dtmf(digits="1")), epoch="two"),
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(BadEvent, match="stt.output.s-1 #7"):
        decode(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(BadEvent):
        decode(data)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        events.Dtmf(digits="1").digits = "2"  # type: ignore[misc]
