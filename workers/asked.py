"""The transport's other door: what the web process asks by NATS, answered as the HTTP API would."""

import logging
from typing import Annotated
from uuid import uuid4

import msgspec
from pydantic import Field

from connectors_app.base.errors import ProviderError
from mesh import asking
from mesh.asking import Changed, Declined, Done, Opened, Person, Presence
from mesh.sessions import Record
from workers import steering
from workers.answers import EXPLAINED, Body, Name, Refusal, refusal, validated
from workers.desk import Desk, SessionSpec
from workers.meeting import open_meeting, people_in, refused
from workers.opening import (
    DAILY,
    TRANSPORT_PATH,
    check_transport,
    media_path,
    open_session,
    provided,
    read_config,
    transport_of,
)
from workers.steering import find_session
from workers.wishes import Wishes

log = logging.getLogger(__name__)

Answer = Opened | Changed | Presence | Done | Declined


class Names(Body):
    """What people call a session and its caller."""

    name: Name
    caller: Name


class Ending(Body):
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]


class Asked:
    """Answers questions at a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, payload: bytes) -> bytes:
        return asking.encode(await self._answer(payload))

    async def _answer(self, payload: bytes) -> Answer:
        try:
            return await self._act(asking.decode_question(payload))
        except (msgspec.MsgspecError, RecursionError) as error:
            return Refusal(400, f"The question cannot be read: {error}").declined()
        except EXPLAINED as error:
            return refusal(error).declined()
        except Exception:  # noqa: BLE001  # the outermost loop: one question's fault stays its own
            log.exception("a question failed")
            return Declined(error="The transport failed at this question; its log says why.", status=500)

    async def _act(self, question: asking.AnyQuestion) -> Answer:
        if isinstance(question, asking.Open):
            return await self._open(question)
        record = await find_session(self._desk, question.session, question.workspace)
        match question:
            case asking.Say(text=text):
                await steering.say(self._desk, record, text)
            case asking.End(reason=reason):
                await steering.end(self._desk, record["session_id"], validated(Ending, {"reason": reason}).reason)
            case asking.ChangeConfig(config=document):
                return Changed(revision=await steering.change_config(self._desk, record, document))
            case asking.LookIn():
                return await self._look_in(record)
        return Done()

    async def _look_in(self, record: Record) -> Presence:
        try:
            people = await people_in(self._desk, record)
        except ProviderError as error:
            raise refused(error, "Nobody can tell who is in the room") from None
        return Presence(people=tuple(Person(one.id, one.name, one.joined_at) for one in people))

    async def _open(self, question: asking.Open) -> Opened:
        names = validated(Names, {"name": question.name, "caller": question.caller})
        config = read_config(self._desk, question.config, "config")
        transport = question.transport or transport_of(config)
        check_transport(transport, "transport" if question.transport else TRANSPORT_PATH)
        wishes = Wishes(question.max_participants, question.recording, question.captions, question.transcription)
        spec = SessionSpec(
            id=str(uuid4()),
            workspace=question.workspace,
            transport=transport,
            config=config,
            agent=question.agent,
            agent_version=question.agent_version,
            name=names.name,
            caller=names.caller,
            **wishes.granted(transport),
        )
        spec = await provided(self._desk, spec)
        if transport == DAILY:
            entrance = await open_meeting(self._desk, spec)
            return Opened(
                session=spec.id,
                path="",
                token=entrance.token,
                expires_in=entrance.seconds,
                notices=spec.notices,
                room_url=entrance.url,
            )
        path = media_path(spec.id)
        within = question.join_within
        token = await open_session(self._desk, spec, path, within)
        return Opened(session=spec.id, path=path, token=token, expires_in=within, notices=spec.notices)
