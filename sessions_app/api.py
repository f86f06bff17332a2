"""The API of sessions: start, watch, steer and end them, and read what is kept of them."""

import time
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from accounts_app.access import Owned
from accounts_app.bodies import Nothing
from accounts_app.describing import operation
from accounts_app.models import Right, Workspace
from accounts_app.paging import Cursors
from mesh.asking import Opened
from pipelines_app.api import taken
from pipelines_app.examples import DOCUMENT
from pipelines_app.models import AgentVersion
from pipelines_app.serializers import AgentDocument
from sessions_app import examples
from sessions_app.actions import carrier, change_session_config, end_session, people_in, say_in_session, start_session
from sessions_app.addresses import socket_origin
from sessions_app.models import OVER, Session
from sessions_app.serializers import (
    ChangedConfig,
    ConfigAnswer,
    EntryAnswer,
    IncidentAnswer,
    NewSession,
    PresenceAnswer,
    Saying,
    SessionAnswer,
    StartedSession,
    TurnAnswer,
    UsageAnswer,
    Wanted,
)

ROW_WITHIN = 2.0
"""The bridge writes a session's row some milliseconds after it was opened; whoever asks at once shall find it."""
LOOK_EVERY = 0.02

Answer = type[ModelSerializer[Any]]


@extend_schema(tags=["sessions"])
class SessionView(ListModelMixin, RetrieveModelMixin, Owned):
    queryset = Session.objects.select_related("workspace", "agent_version__agent")
    serializer_class = SessionAnswer
    pagination_class = Cursors
    order: tuple[str, ...] = ("-created_at", "-id")
    lookup_value_regex = "[A-Za-z0-9_-]{1,64}"
    rights = dict.fromkeys(("destroy", "end", "say", "put_config"), Right.RUN)

    # -- read --------------------------------------------------------------------------------------------

    @operation(
        "List sessions",
        "The latest first.",
        answers={200: SessionAnswer(many=True)},
        parameters=[Wanted],
        errors=(422,),
        answer=examples.SESSION,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        if self.action != "list":
            return queryset
        query = {name: value for name, value in self.request.query_params.items() if name not in ("cursor", "limit")}
        return _narrowed(queryset, taken(Wanted, query))

    @operation(
        "A session",
        "As its transport told last; some milliseconds behind the event stream.",
        answers={200: SessionAnswer},
        errors=(404,),
        answer=examples.SESSION,
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    # -- start, steer, end -------------------------------------------------------------------------------

    @operation(
        "Start a session",
        "Of an agent's published version, of another version, or of a configuration document; without any of them, of "
        "the workspace's default agent. The caller then connects to `socket_url`, which works once. With the transport "
        "daily people meet at `room_url`; the agent does not come into the room in this version.",
        body=NewSession,
        bodies=examples.NEW,
        answers={201: StartedSession},
        errors=(503,),
        answer=examples.STARTED,
    )
    def create(self, request: Request) -> Response:
        asked = taken(NewSession, request.data)
        workspace = self.access.choose(Right.RUN, asked.get("workspace", ""))
        version = None if "config" in asked else _version(workspace, asked)
        own = carrier(version=version) if version else ""
        opened = start_session(
            workspace=workspace,
            version=version,
            document=asked.get("config"),
            name=asked["name"],
            caller=asked["caller"],
            captions=asked["captions"],
            transport=asked.get("transport", own),
            max_participants=asked.get("max_participants"),
            recording=asked["enable_recording"],
            transcription=asked["enable_transcription"],
            variables=asked.get("variables"),
        )
        _await_row(opened.session)
        return Response(_started(request, workspace, version, opened), status=201)

    @operation(
        "End a session",
        "Ending it twice is no error. Its rows stay.",
        answers={204: None},
        errors=(403, 404, 503),
    )
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self._end()
        return Response(status=204)

    @operation(
        "End a session",
        "The same as `DELETE`, for who cannot send one.",
        body=Nothing,
        answers={204: None},
        errors=(404, 503),
    )
    @action(detail=True, methods=["post"])
    def end(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        taken(Nothing, request.data)
        self._end()
        return Response(status=204)

    def _end(self) -> None:
        session = self.get_object()
        if not session.is_over:
            end_session(session=session)

    @operation(
        "Let the agent say something",
        "It is spoken as soon as nobody has the floor.",
        body=Saying,
        bodies={"An announcement": {"text": "A colleague will be with you in a minute."}},
        answers={202: Saying},
        errors=(404, 409, 503),
        answer={"text": "A colleague will be with you in a minute."},
    )
    @action(detail=True, methods=["post"])
    def say(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        session = self.get_object()
        text = taken(Saying, request.data)["text"]
        say_in_session(session=session, text=text)
        return Response({"text": text}, status=202)

    @operation(
        "Who is in a session's room",
        "With the transport daily: as Daily says now, or said some seconds ago. Other sessions have no room.",
        answers={200: PresenceAnswer},
        errors=(404, 503),
        answer=examples.PRESENCE,
    )
    @action(detail=True)
    def presence(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        people = people_in(session=self.get_object())
        return Response(PresenceAnswer({"people": people}).data)

    @operation(
        "A session's configuration",
        "The document that it runs, as its transport told last.",
        answers={200: ConfigAnswer},
        errors=(404,),
        answer=examples.CONFIG,
        operation_id="sessions_config_retrieve",
    )
    @action(detail=True)
    def config(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        session = self.get_object()
        return Response({"revision": session.revision, "config": session.config})

    @operation(
        "Change a session's configuration",
        "The body is the whole document. It holds from the session's next turn on.",
        body=AgentDocument,
        bodies={"A document": DOCUMENT},
        answers={200: ChangedConfig},
        errors=(404, 409, 503),
        answer={"revision": "77ab01c2d3e4"},
        operation_id="sessions_config_change",
    )
    @config.mapping.put
    def put_config(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response({"revision": change_session_config(session=self.get_object(), config=request.data)})

    # -- what is kept ------------------------------------------------------------------------------------

    @operation(
        "A session's transcript",
        "In order: one entry for each utterance of the caller and each sentence of the agent, as far as it was heard. "
        "The entry of a sentence that is being spoken still grows.",
        answers={200: EntryAnswer(many=True)},
        errors=(404, 422),
        answer=examples.ENTRY,
    )
    @action(detail=True)
    def transcript(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._rows("transcript", EntryAnswer, ("id",))

    @operation(
        "A session's turns",
        "In order, each with its waterfall: where the time went between the caller's last sound, or a typed text, and "
        "the first that was heard or read of the answer. A turn that failed has the marks that it reached.",
        answers={200: TurnAnswer(many=True)},
        errors=(404, 422),
        answer=examples.TURN,
    )
    @action(detail=True)
    def turns(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._rows("turns", TurnAnswer, ("number",))

    @operation(
        "What a session used",
        "One row for each attempt at a provider.",
        answers={200: UsageAnswer(many=True)},
        errors=(404, 422),
        answer=examples.USAGE,
    )
    @action(detail=True)
    def usage(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._rows("usage", UsageAnswer, ("id",))

    @operation(
        "A session's incidents",
        "What did not go as planned: providers that failed or were left, answers and sentences that were not given.",
        answers={200: IncidentAnswer(many=True)},
        errors=(404, 422),
        answer=examples.INCIDENT,
    )
    @action(detail=True)
    def incidents(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._rows("incidents", IncidentAnswer, ("id",))

    def _rows(self, related: str, answer: Answer, order: tuple[str, ...]) -> Response:
        session = self.get_object()
        self.order = order
        page = self.paginate_queryset(getattr(session, related).all())
        return self.get_paginated_response(answer(page, many=True).data)


def _narrowed(sessions: Any, wanted: Mapping[str, Any]) -> Any:
    match wanted.get("state"):
        case "open":
            sessions = sessions.open()
        case "over":
            sessions = sessions.filter(state__in=OVER)
        case str(state):
            sessions = sessions.filter(state=state)
    columns = {
        "agent": "agent_version__agent__slug",
        "since": "created_at__gte",
        "until": "created_at__lt",
        "workspace": "workspace__slug",
    }
    return sessions.filter(**{column: wanted[name] for name, column in columns.items() if name in wanted})


def _version(workspace: Workspace, asked: Mapping[str, Any]) -> AgentVersion:
    """Raises ValidationError, which names what is missing."""
    slug, number = asked.get("agent"), asked.get("version")
    versions = AgentVersion.objects.filter(agent__workspace=workspace).select_related("agent__workspace")
    if number is not None:
        found = versions.filter(agent__slug=slug, number=number).first()
        problem = {"version": [f"there is no version {number} of an agent {slug!r}"]}
    elif slug is not None:
        found = versions.filter(agent__slug=slug, current_of__isnull=False).first()
        problem = {"agent": [f"there is no published agent {slug!r} in this workspace"]}
    else:
        found = versions.filter(agent__is_default=True, current_of__isnull=False).first()
        problem = {"agent": ["is missing, and the workspace has no published default agent"]}
    if found is None:
        raise ValidationError(problem)
    return found


def _started(request: Request, workspace: Workspace, version: AgentVersion | None, opened: Opened) -> Mapping[str, Any]:
    return {
        "id": opened.session,
        "workspace": workspace.slug,
        "agent": version.agent.slug if version else None,
        "version": version.number if version else None,
        "socket_url": None if opened.room_url else socket_origin(request._request) + opened.socket_path,
        "room_url": opened.room_url or None,
        "token": opened.token,
        "expires_in": opened.expires_in,
        "notices": list(opened.notices),
    }


def _await_row(session: str) -> None:
    """As long as the bridge may take; without a bridge the session runs all the same."""
    deadline = time.monotonic() + ROW_WITHIN
    while not Session.objects.filter(id=session).exists() and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
