"""What a language model is told of the conversation so far: a fold over the canonical events. Pure.

Only what was heard is history: the caller's words from `turn.ended`, the agent's from `played` and `interrupted`.
An apology is among them: it answers the question that nobody could, so that the next one is not taken for its end.
"""

from dataclasses import dataclass, field

from mesh.events import Interrupted, Played, ReplyDone, ReplyFailed, ReplySentence, Stored, TurnDiscarded, TurnEnded
from mesh.subjects import Stage


@dataclass(frozen=True, slots=True)
class Line:
    """`role` is `user` or `assistant`."""

    role: str
    text: str


@dataclass(slots=True)
class Pending:
    """The newest turn that the agent has to answer, and what of the answer is already committed."""

    turn: int
    generation: int
    text: str
    committed: list[str] = field(default_factory=list)
    is_open: bool = True


class History:
    def __init__(self) -> None:
        self._said: dict[tuple[str, int], str] = {}
        """By (role, turn) for the caller and (role, generation) for the agent, in the order of their beginning."""
        self.pending: Pending | None = None

    def fold(self, stored: Stored) -> None:
        match stored.event:
            case TurnEnded() as ended:
                self._said.pop(("user", ended.turn), None)  # the caller went on: the text is the whole turn's
                self._said["user", ended.turn] = ended.text
                self.pending = Pending(ended.turn, ended.generation, ended.text)
            case TurnDiscarded(generation=generation) if generation:
                self._close(generation)
            case Played(generation=generation, text=text):
                self._agent_said(generation, text)
            case Interrupted(generation=generation, heard=heard):
                self._agent_said(generation, heard)
                self._close(generation)
            case ReplySentence(generation=generation, text=text) if stored.stage == Stage.LLM:
                if self.pending and self.pending.generation == generation:
                    self.pending.committed.append(text)
            case ReplyDone(generation=generation) | ReplyFailed(generation=generation):
                self._close(generation)

    def lines(self) -> list[Line]:
        """The conversation in alternating lines, the newest caller's words last while an answer is wanted.

        What was heard of an answer that is still being made is not in them: it stands in `pending.committed`.
        """
        lines: list[Line] = []
        for (role, number), text in self._said.items():
            if not text or (role == "assistant" and self._is_answering(number)):
                continue
            if lines and lines[-1].role == role:
                lines[-1] = Line(role, f"{lines[-1].text} {text}")
            else:
                lines.append(Line(role, text))
        return lines

    def _agent_said(self, generation: int, text: str) -> None:
        before = self._said.get(("assistant", generation), "")
        self._said["assistant", generation] = f"{before} {text}".strip()

    def _close(self, generation: int) -> None:
        if self.pending and self.pending.generation == generation:
            self.pending.is_open = False

    def _is_answering(self, generation: int) -> bool:
        return self.pending is not None and self.pending.is_open and self.pending.generation == generation
