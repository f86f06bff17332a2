"""The agent configuration document: its keys, types and ranges."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SERVICES = ("stt", "llm", "tts", "transport")


class Document(BaseModel):
    """The document or an object in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Template = Annotated[str, Field(max_length=100_000)]
NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
Variables = dict[Annotated[str, Field(pattern=NAME)], JsonValue]
ServiceName = Annotated[str, Field(json_schema_extra={"enum": list(SERVICES)})]


class Step(Document):
    """One step of the flow, written `{"from": …, "to": …, "stream": …}`."""

    source: ServiceName = Field(alias="from")
    target: ServiceName = Field(alias="to")
    stream: str = Field(min_length=1, max_length=64)


class Pipeline(Document):
    name: str = Field(min_length=1, max_length=200)
    flow: tuple[Step, ...] = Field(strict=False)


class ServiceConnectors(Document):
    """The providers of one service. `config` holds a section for each provider, or the primary's options alone."""

    primary: str
    fallback: tuple[str, ...] = Field(default=(), strict=False)
    config: dict[str, JsonValue] = {}

    @property
    def chain(self) -> tuple[str, ...]:
        return (self.primary, *self.fallback)

    @property
    def is_flat(self) -> bool:
        return not all(isinstance(value, dict) for value in self.config.values())

    def options(self, provider: str) -> dict[str, JsonValue]:
        if self.is_flat:
            return dict(self.config) if provider == self.primary else {}
        section = self.config.get(provider, {})
        return dict(section) if isinstance(section, dict) else {}


class TurnOptions(Document):
    stop_ms: int = Field(
        default=500,
        ge=100,
        le=3000,
        title="Pause that ends an utterance (ms)",
        description="Silence after a word.",
    )
    interrupt_ms: int = Field(
        default=300,
        ge=0,
        le=2000,
        title="Speech to break in (ms)",
        description="Caller speech that stops the agent.",
    )
    threshold: float = Field(
        default=0.5, ge=0.1, le=0.95, title="Voice threshold", description="Voice probability that counts as speech."
    )
    min_speech_ms: int = Field(
        default=100, ge=0, le=2000, title="Shortest utterance (ms)", description="Shorter sounds are not an utterance."
    )
    not_understood: str = Field(
        default="",
        max_length=500,
        title="When nothing was understood",
        description="Said when a longer utterance yields no words; empty: nothing.",
    )


class Limits(Document):
    max_duration_s: int = Field(
        default=3600, ge=10, le=86_400, title="Longest session (seconds)", description="Then the session ends."
    )


class AgentConfig(Document):
    system_prompt: str = Field(max_length=100_000)
    context_instructions: Template = Field(
        default="",
        description="Sent below the system prompt. `{input_data}` is what the caller said last, `{session_id}` the "
        "session, any other `{name}` one of the variables.",
    )
    user_template: Template = Field(
        default="",
        description="How the model gets what the caller says, such as `Customer: {input_data}`; the same names. "
        "Without `{input_data}` the words follow below it. Empty: the words alone.",
    )
    variables: Variables = Field(
        default={}, description="Values for the names in the two templates. A text is filled in as it is, else as JSON."
    )
    pipeline: Pipeline
    connectors: dict[ServiceName, ServiceConnectors]
    credentials: dict[str, Annotated[str, Field(min_length=1, max_length=120)]] = Field(
        default={},
        description="By provider, the name of the workspace's credential to use instead of the one that is in use.",
    )
    greeting: str = Field(default="", max_length=2000, description="Said first; empty: the agent waits.")
    apology: str = Field(
        default="Sorry, I have a technical problem just now. Please try that again.",
        max_length=500,
        title="When no provider answers",
        description="Said when none could do its part of a turn; empty: nothing.",
    )
    turn: TurnOptions = TurnOptions()
    limits: Limits = Limits()

    def roles(self) -> frozenset[str]:
        """The services that the flow uses."""
        return frozenset(name for step in self.pipeline.flow for name in (step.source, step.target))

    def chain(self, service: str) -> tuple[str, ...]:
        """The providers of a service in the order in which they are tried; empty where none is configured."""
        entry = self.connectors.get(service)
        return entry.chain if entry else ()

    def options(self, service: str, provider: str) -> dict[str, JsonValue]:
        entry = self.connectors.get(service)
        return entry.options(provider) if entry else {}


def dump(config: AgentConfig) -> dict[str, JsonValue]:
    """The document as its author wrote it: the documented keys, and no default that was left out."""
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)
