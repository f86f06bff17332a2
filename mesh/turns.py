"""The turn machine: who has the floor, what the caller said, and when the agent answers or stops.

Pure: `step(state, event) -> (state, actions)`. Events carry their time, nothing here reads a clock or waits.
`deadline(state)` says when a Tick is due.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

Role = Literal["stt", "llm", "tts"]

LONG_SPEECH = 0.7
"""Seconds of speech that were meant for the agent even if no word of it was understood."""

BACKCHANNELS = frozenset(
    [
        "mhm",
        "mm",
        "mmm",
        "mm-hmm",
        "mhmm",
        "hm",
        "hmm",
        "uh",
        "uhm",
        "um",
        "uh-huh",
        "uhhuh",
        "aha",
        "ah",
        "oh",
        "yeah",
        "yep",
        "ok",
        "okay",
        "right",
        "sure",
    ]
)
"""Words that say "I am listening", not "stop"."""


class Floor(Enum):
    NOBODY = "nobody"
    CALLER = "caller"
    THINKING = "thinking"  # the caller has finished, nothing of the answer was heard yet
    AGENT = "agent"


# -- what happens ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    at: float
    utterance: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    at: float
    utterance: int
    seconds: float = 1.0
    """How long it was voiced."""


@dataclass(frozen=True, slots=True)
class Interim:
    at: float
    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance's final transcript."""

    at: float
    utterance: int
    text: str
    failed: bool = False
    """No recogniser could tell."""


@dataclass(frozen=True, slots=True)
class Typed:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Say:
    """The agent is to say something of its own accord: a greeting, an announcement."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class PlayoutStarted:
    at: float
    generation: int


@dataclass(frozen=True, slots=True)
class ReplyOver:
    """Everything of a generation was played, or nothing more of it will come."""

    at: float
    generation: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No provider of this role could give the reply, or a sentence of it."""

    at: float
    generation: int
    role: Role


@dataclass(frozen=True, slots=True)
class Tick:
    at: float


Event = SpeechStarted | SpeechEnded | Interim | Heard | Typed | Say | PlayoutStarted | ReplyOver | Failed | Tick


# -- what is to be done ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartTurn:
    turn: int


@dataclass(frozen=True, slots=True)
class Answer:
    turn: int
    generation: int
    text: str
    cause: Literal["speech", "typed"]
    utterances: tuple[int, ...] = ()
    """That the turn was made of, as far as no earlier answer of it has named them."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop a generation of which nothing was heard (0: a turn in which nothing was said)."""

    turn: int
    generation: int
    reason: str
    failed: Role | None = None
    """None of this role's providers answered: something was said, perhaps."""
    utterances: tuple[int, ...] = ()
    """That came to nothing."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The generation stays as far as it was heard; the rest is dropped everywhere."""

    turn: int
    generation: int


@dataclass(frozen=True, slots=True)
class Announce:
    turn: int
    generation: int
    text: str
    failed: Role | None = None
    """An apology, because none of this role's providers answered."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Silence at once; what was not heard is kept."""


@dataclass(frozen=True, slots=True)
class Release:
    """Go on where the caller's ear stopped."""


Action = StartTurn | Answer | Discard | Interrupt | Announce | Hold | Release


# -- the machine -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turns:
    """One conversation's state."""

    interrupt_after: float = 0.3
    """Seconds of speech that stop the agent before a word is understood."""
    not_understood: str = ""
    """Said when a long utterance yields no words; empty: nothing is said."""
    apology: str = ""
    """Said once in a turn in which no provider did its part; empty: nothing is said."""
    floor: Floor = Floor.NOBODY
    turn: int = 0
    generation: int = 0
    answering: int = 0
    """The turn to which the current generation belongs: 0 before the first, and for a greeting."""
    text: tuple[str, ...] = ()
    cause: Literal["speech", "typed"] = "speech"
    speaking: int | None = None
    interrupt_at: float | None = None
    unheard: frozenset[int] = frozenset()
    """Utterances whose final transcript has not come."""
    heard: tuple[int, ...] = ()
    """Utterances whose final transcript has come, and of which it is not decided yet what they become."""
    long: bool = False
    """An utterance of this turn was too long for a cough."""
    unrecognised: bool = False
    """No recogniser answered for an utterance of this turn."""
    failed: Role | None = None
    """The apology waits for what of the reply there is to be heard."""
    apologised: bool = False
    """In this turn: an apology that fails is not followed by another."""
    held: bool = False
    announcements: tuple[str, ...] = ()


Result = tuple[Turns, tuple[Action, ...]]


def deadline(state: Turns) -> float | None:
    """When to send a Tick."""
    return state.interrupt_at


def step(state: Turns, event: Event) -> Result:
    match event:
        case SpeechStarted():
            return _speech_started(state, event)
        case SpeechEnded(utterance=utterance, seconds=seconds):
            return _settled(
                replace(
                    state,
                    speaking=None if state.speaking == utterance else state.speaking,
                    interrupt_at=None,
                    unheard=state.unheard | {utterance},
                    long=state.long or seconds >= LONG_SPEECH,
                )
            )
        case Interim(utterance=utterance, text=text):
            is_current = utterance == state.speaking or utterance in state.unheard
            return _words(state) if is_current and _means_something(state, text) else (state, ())
        case Heard(utterance=utterance, text=text, failed=failed):
            unheard, heard = state.unheard - {utterance}, (*state.heard, utterance)
            unrecognised = state.unrecognised or failed
            return _heard(replace(state, unheard=unheard, heard=heard, unrecognised=unrecognised), text.strip())
        case Typed(text=text):
            return _typed(state, text.strip())
        case Say(text=text):
            return _idle(replace(state, announcements=(*state.announcements, text)), ())
        case PlayoutStarted(generation=generation):
            if state.floor is Floor.THINKING and generation == state.generation:
                return replace(state, floor=Floor.AGENT), ()
            return state, ()
        case ReplyOver(generation=generation):
            return _reply_over(state, generation)
        case Failed():
            return _failed(state, event), ()
        case Tick(at=at):
            return _ticked(state, at)


def _speech_started(state: Turns, event: SpeechStarted) -> Result:
    state = replace(state, speaking=event.utterance)
    match state.floor:
        case Floor.NOBODY:
            return _open_turn(state)
        case Floor.THINKING if not state.held:
            return replace(state, held=True), (Hold(),)
        case Floor.AGENT if not state.held:
            return replace(state, interrupt_at=event.at + state.interrupt_after), ()
    return state, ()


def _open_turn(state: Turns, actions: tuple[Action, ...] = ()) -> Result:
    turn = state.turn + 1
    state = replace(state, floor=Floor.CALLER, turn=turn, text=(), cause="speech", held=False, interrupt_at=None)
    return replace(state, failed=None, apologised=False), (*actions, StartTurn(turn))


def _means_something(state: Turns, text: str) -> bool:
    """Words that take the floor: while the agent thinks or speaks, listening noises do not."""
    words = [word.strip(".,!?…") for word in text.lower().split()]
    if state.floor in (Floor.THINKING, Floor.AGENT):
        return any(word and word not in BACKCHANNELS for word in words)
    return any(words)


def _words(state: Turns) -> Result:
    """The caller is saying something: the floor is the caller's."""
    match state.floor:
        case Floor.THINKING if state.answering == state.turn and state.text:
            # Nothing of the answer was heard: the same turn goes on, with what was already said.
            discard = Discard(state.turn, state.generation, "the caller went on")
            return replace(state, floor=Floor.CALLER, held=False), (discard,)
        case Floor.THINKING:
            return _open_turn(state, (Discard(state.answering, state.generation, "the caller spoke"),))
        case Floor.AGENT:
            return _open_turn(state, (Interrupt(state.answering, state.generation),))
        case Floor.NOBODY:
            return _open_turn(state)
    return state, ()


def _heard(state: Turns, text: str) -> Result:
    if not _means_something(state, text):
        return _settled(state)
    state, actions = _words(state)
    return _settled(replace(state, text=(*state.text, text)), actions)


def _typed(state: Turns, text: str) -> Result:
    if not text:
        return state, ()
    state, actions = _words(state)
    return _settled(replace(state, text=(*state.text, text), cause="typed"), actions)


def _settled(state: Turns, actions: tuple[Action, ...] = ()) -> Result:
    """Decide, once the caller is silent and every utterance's transcript is there."""
    if state.speaking is not None or state.unheard:
        return state, actions
    match state.floor:
        case Floor.CALLER if state.text:
            return _answer(state, actions)
        case Floor.CALLER:
            return _nothing_said(state, actions)
        case Floor.AGENT if state.held and state.long:
            # Meant for the agent, though no word of it was understood.
            state, opened = _open_turn(state, (*actions, Interrupt(state.answering, state.generation)))
            return _nothing_said(replace(state, long=True), opened)
        case _ if state.held:
            return replace(state, held=False, long=False, unrecognised=False, heard=()), (*actions, Release())
    return replace(state, long=False, unrecognised=False, heard=()), actions


def _answer(state: Turns, actions: tuple[Action, ...]) -> Result:
    generation = state.generation + 1
    answer = Answer(state.turn, generation, " ".join(state.text), state.cause, state.heard)
    state = replace(state, floor=Floor.THINKING, generation=generation, answering=state.turn, held=False, long=False)
    return replace(state, unrecognised=False, failed=None, heard=()), (*actions, answer)


def _nothing_said(state: Turns, actions: tuple[Action, ...]) -> Result:
    queue, failed = state.announcements, state.failed
    if state.unrecognised:
        actions = (*actions, Discard(state.turn, 0, "no recogniser answered", "stt", state.heard))
    else:
        actions = (*actions, Discard(state.turn, 0, "nothing was understood", utterances=state.heard))
    if state.unrecognised and state.apology:
        failed = "stt"
    elif state.long and state.not_understood:
        queue = (state.not_understood, *queue)
    state = replace(state, long=False, unrecognised=False, heard=())
    state = replace(state, floor=Floor.NOBODY, announcements=queue, failed=failed)
    return _idle(state, actions)


def _idle(state: Turns, actions: tuple[Action, ...]) -> Result:
    """Nobody has the floor: say what waits to be said, an apology first."""
    if state.floor is not Floor.NOBODY:
        return state, actions
    failed, state = state.failed, replace(state, failed=None)
    if failed and state.apology and not state.apologised:
        return _announce(replace(state, apologised=True), state.apology, actions, failed)
    if state.announcements:
        text, *rest = state.announcements
        return _announce(replace(state, announcements=tuple(rest)), text, actions)
    return state, actions


def _announce(state: Turns, text: str, actions: tuple[Action, ...], failed: Role | None = None) -> Result:
    generation = state.generation + 1
    state = replace(state, floor=Floor.THINKING, generation=generation, answering=state.turn, text=(), held=False)
    return state, (*actions, Announce(state.turn, generation, text, failed))


def _failed(state: Turns, event: Failed) -> Turns:
    is_current = event.generation == state.generation and state.floor in (Floor.THINKING, Floor.AGENT)
    return replace(state, failed=state.failed or event.role) if is_current else state


def _ticked(state: Turns, at: float) -> Result:
    if state.interrupt_at is not None and at >= state.interrupt_at:
        return replace(state, interrupt_at=None, held=True), (Hold(),)
    return state, ()


def _reply_over(state: Turns, generation: int) -> Result:
    if generation != state.generation or state.floor not in (Floor.THINKING, Floor.AGENT):
        return state, ()
    state = replace(state, floor=Floor.NOBODY, text=(), held=False, interrupt_at=None)
    if state.speaking is not None or state.unheard:
        return _open_turn(state)
    return _idle(state, ())


def play(state: Turns, *story: Event) -> tuple[Turns, list[Action]]:
    """A whole story at once: the last state, and everything that was to be done."""
    done: list[Action] = []
    for event in story:
        state, actions = step(state, event)
        done += actions
    return state, done
