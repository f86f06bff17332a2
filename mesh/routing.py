"""Self-routing: what each service listens to and speaks to, read from a session's flow. Pure."""

from dataclasses import dataclass

from mesh.config.document import AgentConfig, Step
from mesh.config.rules import CARRIED
from mesh.subjects import Stage


@dataclass(frozen=True, slots=True)
class Routes:
    """The steps of one session's flow, asked from the side of a service."""

    flow: tuple[Step, ...]

    @classmethod
    def of(cls, config: AgentConfig) -> "Routes":
        return cls(config.pipeline.flow)

    def targets(self, service: str) -> tuple[Step, ...]:
        """The steps that carry what this service makes, in the order of the flow."""
        return tuple(step for step in self.flow if step.source == service)

    def sources(self, service: str) -> tuple[Step, ...]:
        """The steps that lead to this service."""
        return tuple(step for step in self.flow if step.target == service)

    def joins(self, source: str, target: str) -> bool:
        return any(step.source == source and step.target == target for step in self.flow)

    @property
    def stt_hears_transport(self) -> bool:
        """The caller's audio is recognised."""
        return self.joins("transport", "stt")

    @property
    def speech_to_llm(self) -> bool:
        """What the caller says is answered."""
        return self.joins("stt", "llm")

    @property
    def typed_to_llm(self) -> bool:
        """What the caller types is answered."""
        return self.joins("transport", "llm")

    @property
    def llm_answers(self) -> bool:
        return self.speech_to_llm or self.typed_to_llm

    def tts_speaks(self, source: str) -> bool:
        """Texts of this service become speech: replies of llm, texts sent to transport, transcripts of stt."""
        return self.joins(source, "tts")

    @property
    def transport_plays(self) -> bool:
        """The caller hears the agent's voice."""
        return self.joins("tts", "transport")

    @property
    def needed_stages(self) -> frozenset[Stage]:
        """The stages that need a worker: those that something from the caller can reach."""
        reached = {"transport"}
        while more := {step.target for step in self.flow if self._carries(step, reached)} - reached:
            reached |= more
        return frozenset(Stage(name) for name in reached - {"transport"})

    @staticmethod
    def _carries(step: Step, reached: set[str]) -> bool:
        return step.source in reached and (step.source, step.target) in CARRIED
