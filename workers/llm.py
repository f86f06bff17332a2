"""The language model stage: answers turns, sentence by sentence, from what was heard of the conversation."""

import asyncio
import logging
import time
from contextlib import aclosing

import msgspec

from connectors_app.answering import Piece, Sentence, Withdrawn, answer
from connectors_app.base.language_model import LanguageModel, Message
from connectors_app.pool import AllFailed, Chain
from mesh import subjects
from mesh.events import Interrupted, ReplyDone, ReplyFailed, ReplySentence, Stored, TurnDiscarded, TurnEnded
from mesh.history import History, Pending
from mesh.prompts import prompt
from workers.stage import Reporting, Seat, StageActor, explain

log = logging.getLogger(__name__)

DELTA_EVERY = 0.1
"""Seconds between published deltas of one reply; the first goes at once, and one that makes others void."""


class Answering(StageActor):
    """One session's language model. A newer turn, an interruption or a discard cancels the reply that is running."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        self._history = History()
        self._chain = self._make_chain()
        self._former: list[Chain[LanguageModel]] = []
        """Replies still run on them."""
        self._reply: asyncio.Task[None] | None = None
        self._generation = 0

    def _make_chain(self) -> Chain[LanguageModel]:
        self._chosen = self.choice("llm")
        return self.seat.pool.models(*self._chosen)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._cancel()
        if self._reply:
            await asyncio.wait([self._reply])
        while self._former:
            await self._former.pop().close()
        await self._chain.close()

    def configured(self) -> None:
        if self._chosen == self.choice("llm"):
            return
        former, self._chain = self._chain, self._make_chain()
        self._former.append(former)
        self.tasks.create_task(self._leave(former, self._reply))

    async def _leave(self, chain: Chain[LanguageModel], reply: "asyncio.Task[None] | None") -> None:
        """A reply that runs on the former chain ends first. Where the session does, `close` leaves the chain."""
        if reply:
            await asyncio.wait([reply])
        if chain in self._former:
            self._former.remove(chain)
            await chain.close()

    def receive(self, stored: Stored) -> None:
        self._history.fold(stored)
        if not self.is_live:
            return
        match stored.event:
            case TurnEnded():
                self._answer()
            case TurnDiscarded(generation=generation) | Interrupted(generation=generation):
                if generation == self._generation:
                    self._cancel()

    def caught_up(self) -> None:
        if self._history.pending and self._history.pending.is_open:
            self._answer(anew=True)

    def _answer(self, *, anew: bool = False) -> None:
        """`anew`: after a takeover. The former owner may have shown a part of the next sentence."""
        pending = self._history.pending
        if pending is None or not self.routes.llm_answers:
            return
        self._cancel()
        self._generation = pending.generation
        self._reply = self.tasks.create_task(self._run(pending, anew=anew))

    def _cancel(self) -> None:
        if self._reply:
            self._reply.cancel()

    def _messages(self) -> list[Message]:
        lines = prompt(self.config, self.session, self._history.lines())
        return [Message(line.role, line.text) for line in lines]

    async def _run(self, pending: Pending, *, anew: bool) -> None:
        reply = _Reply(self, pending, anew=anew)
        report = Reporting(self, "llm", pending.turn, pending.generation)
        chain = self._chain
        try:
            said = pending.committed  # after a takeover in the middle of the reply
            asked = answer(chain, self._messages(), self.seat.deadlines, report, said=said)
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    await reply.take(piece)
            reply.end(chain.current)
        except AllFailed as error:
            reply.fail(explain(error))


class _Reply:
    """One reply on its way out: deltas at once, sentences as they are complete."""

    def __init__(self, actor: Answering, pending: Pending, *, anew: bool) -> None:
        self._actor = actor
        self._turn = pending.turn
        self._generation = pending.generation
        self._count = len(pending.committed)
        self._delta = ""
        self._anew_from = self._count if anew else None
        """The sentence that the next delta begins anew."""
        self._published = 0.0
        self._began = time.monotonic()

    async def take(self, piece: Piece) -> None:
        match piece:
            case str():
                await self._show(piece)
            case Sentence(text=text):
                self._commit(text)
            case Withdrawn():
                self._delta, self._anew_from = "", self._count

    async def _show(self, text: str) -> None:
        self._delta += text
        now = time.monotonic()
        if now - self._published >= DELTA_EVERY or self._anew_from is not None:
            if not self._published:
                self._actor.seat.metrics.stage_seconds.labels("llm").observe(now - self._began)
            self._published = now
            await self._publish_delta()

    def end(self, provider: str) -> None:
        self._actor.post(
            ReplyDone(turn=self._turn, generation=self._generation, sentences=self._count, provider=provider)
        )

    def fail(self, detail: str) -> None:
        """What was committed stands."""
        self._actor.post(
            ReplyFailed(turn=self._turn, generation=self._generation, sentences=self._count, detail=detail)
        )

    def _commit(self, text: str) -> None:
        self._actor.post(ReplySentence(turn=self._turn, generation=self._generation, sentence=self._count, text=text))
        self._count += 1

    async def _publish_delta(self) -> None:
        payload = {
            "turn": self._turn,
            "generation": self._generation,
            "epoch": self._actor.writer.epoch,
            "text": self._delta,
        }
        if self._anew_from is not None:
            payload |= {"anew": True, "sentence": self._anew_from}
        self._delta, self._anew_from = "", None
        await self._actor.bus.publish(subjects.llm_delta(self._actor.session), msgspec.json.encode(payload))
