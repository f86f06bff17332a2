"""The contract of every option of a provider with a wire: it reaches an outgoing request."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Options
from connectors_app.base.errors import ProviderError
from tests.connectors_app.cases import WIRED
from tests.connectors_app.turns import made_with, used
from tests.providers.routes import Turn
from tests.providers.standins import StandIns

Seen = dict[str, object]


@WIRED
async def test_every_option_reaches_a_request(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    usual, again = [await seen(turn, {}, environ, stand_ins, question) for _ in range(2)]
    steady = {place: value for place, value in usual.items() if again.get(place) == value}
    wrong: dict[str, str] = {}
    for option in options_of(turn).model_fields.keys() - turn.unseen.keys():
        change = change_of(turn, option)
        try:
            now = await seen(turn, change, environ, stand_ins, question)
        except ProviderError as error:
            wrong[option] = f"{change} fails ({error}); say another value in `values` of the Turn"
        else:
            if now.keys() <= usual.keys() | again.keys() and now.items() >= steady.items():
                wrong[option] = f"{change} changes no request"
    assert not wrong


@WIRED
def test_what_is_declared_of_options_is_true(turn: Turn) -> None:
    options = options_of(turn)
    assert not {*turn.values, *turn.unseen} - options.model_fields.keys()
    assert all(turn.unseen.values())


def options_of(turn: Turn) -> type[Options]:
    return registry.get(turn.role, turn.slug).Options


async def seen(
    turn: Turn, options: Mapping[str, Any], environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> Seen:
    """Everything that one turn sends, by its place."""
    before = len(stand_ins.requests)
    async with made_with(turn.role, turn.slug, {**turn.options, **options}, environ) as connector:
        await used(connector, question)
    told = [
        [one.path, one.query, without_noise(one.headers), one.body, one.messages] for one in stand_ins.requests[before:]
    ]
    return dict(flat("", told))


def without_noise(headers: Mapping[str, str]) -> dict[str, str]:
    """Lengths change with what is random, and the name of a form's border is."""
    return {name: value for name, value in headers.items() if name not in ("content-length", "content-type")}


def flat(place: str, value: object) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            for key, one in value.items():
                yield from flat(f"{place}.{key}", one)
        case list() | tuple():
            for number, one in enumerate(value):
                yield from flat(f"{place}.{number}", one)
        case _:
            yield place, value


# -- values ----------------------------------------------------------------------------------------------


def change_of(turn: Turn, option: str) -> Mapping[str, Any]:
    """The option with another value than it has by itself."""
    if option in turn.values:
        return turn.values[option]
    options = options_of(turn)
    schema = options.model_json_schema()
    usual = getattr(options.model_validate(turn.options), option)
    for value in candidates(schema["properties"][option], schema.get("$defs", {})):
        if value != usual and is_valid(options, {**turn.options, option: value}):
            return {option: value}
    raise LookupError(f"{turn}: what to set {option} to? Say it in `values` of its Turn")


def is_valid(options: type[Options], values: Mapping[str, Any]) -> bool:
    try:
        options.model_validate(values)
    except ValidationError:
        return False
    return True


def candidates(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Any]:
    for one in schema.get("anyOf", ()):
        yield from candidates(one, definitions)
    yield from schema.get("examples", ())
    yield from schema.get("enum", ())
    match schema.get("type"):
        case "boolean":
            yield from (True, False)
        case "integer" | "number":
            yield from numbers(schema)
        case "string":
            yield from ("en", "de", "de-DE", "something", "https://example.com/somewhere")
        case "array":
            yield from ([one] for one in candidates(schema.get("items", {}), definitions))
        case "object":
            yield from ({"en": one} for one in candidates(schema.get("additionalProperties", {}), definitions))
    if "$ref" in schema:
        yield from candidates(definitions[schema["$ref"].rpartition("/")[2]], definitions)


def numbers(schema: Mapping[str, Any]) -> Iterator[float]:
    """One near the middle of its range, then the ends."""
    low, high = schema.get("minimum", 0), schema.get("maximum", 100)
    step = schema.get("multipleOf", 1 if schema["type"] == "integer" else 0.01)
    yield step * round((low + (high - low) / 3) / step)
    yield from (low, high)
