"""The API's live events: GET /api/v1/sessions/<id>/events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts_app.bodies import Strict
from accounts_app.describing import operation
from accounts_app.models import APIKey
from pipelines_app.api import taken
from sessions_app import examples
from sessions_app.event_stream import EventStream, Place, Standing, has_more, open_stream
from sessions_app.models import Session

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
BAD_PLACE = "is no id of an event; take the last one that you have received, or leave it out"
DESCRIPTION = """\
The session's canonical events as server-sent events, from its beginning or from a place on, and then live.

* Each event comes once, in order, with an `id`. Whoever comes back with it (`Last-Event-ID`, or `after`) gets what
  follows, without a gap and nothing twice; browsers' `EventSource` does so by itself.
* `event` is the type. `data` is JSON: `{id, session, stage, epoch, at, data}`; `at` is UTC in seconds, `id` is the
  event's own name. The inner `data` depends on the type:
  `session.created` {workspace, transport, agent, agent_version, config, revision, …}, `session.live` {worker, rate},
  `session.updated` {config, revision}, `session.ended` {reason, failed, detail, media_ms};
  `turn.started` {turn}, `turn.ended` {turn, generation, text, cause, utterances};
  `turn.discarded` {turn, generation, reason, failed, utterances}: nothing will be heard of it, and if `failed` names a
  role, because all its providers failed; `turn.timed` {turn, generation, marks};
  `speech.started`, `speech.ended` {utterance, sample}, `transcript.final` {utterance, start, end, text, provider};
  `reply.sentence` {turn, generation, sentence, text}, `reply.done`, `reply.failed` {turn, generation, sentences};
  `played` {turn, generation, sentence, samples, rate, text}, `interrupted` {…, heard}, `sentence.failed`;
  `apologised` {turn, generation, role}: the caller hears the apology, since all providers of that role failed;
  `dtmf` {digits}; `provider.failed` {role, provider, kind, detail, ms}, `provider.switched` {role, before, after} and
  `usage` {role, provider, model, unit, quantity}, those of recognition with an `utterance`, all others with a `turn`.
  Fields that have their usual value are left out, and further types and fields may come: ignore what you do not know.
* With `interim=1` also `transcript.interim` {utterance, text} and `reply.delta` {turn, generation, text}: words that
  may still change. A delta with `anew` begins its `sentence` again: what came of it before is void. They have no id,
  are not repeated, and are dropped for who reads slowly.
* A comment comes every 15 seconds while nothing happens.
* After `session.ended` the response ends. Whoever then comes back gets what was written behind it (what was used, a
  last transcript), or **204**, which tells `EventSource` to stop.
* Some time after the session's end (`MESHAG_EVENTS_KEPT_SECONDS`, ten minutes) the events are gone: **410**. The
  transcript, turns, usage and incidents stay.
"""


class Gone(APIException):
    status_code = 410
    default_code = "gone"
    default_detail = (
        "The events of this session are no longer kept. Its transcript, turns, usage and incidents are: "
        "see /api/v1/sessions/{id}/transcript."
    )


class Watching(Strict):
    interim = serializers.ChoiceField(["0", "1"], required=False, help_text="1: also words that may still change.")
    after = serializers.CharField(max_length=64, required=False, help_text="As `Last-Event-ID`, which goes before it.")

    def validate_after(self, text: str) -> Place:
        place = Place.read(text)
        if place is None:
            raise serializers.ValidationError(BAD_PLACE)
        return place


class AsTold(BaseContentNegotiation):
    """The stream for whoever accepts anything; refusals are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Streamed(StreamingHttpResponse):
    """Lets go of its source at once when the reader leaves, not when the collector finds it."""

    def __init__(self, source: AsyncGenerator[str, None]) -> None:
        super().__init__(source, content_type="text/event-stream", headers=HEADERS)
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self._source):
            async for part in super().__aiter__():
                yield part


class AsyncView(APIView):
    """As REST framework dispatches, with a handler that holds no thread."""

    async def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self.request = asked = self.initialize_request(request, *args, **kwargs)
        answer: HttpResponseBase
        try:
            await sync_to_async(self.initial)(asked, *args, **kwargs)
            if asked.method not in self.allowed_methods:
                self.http_method_not_allowed(asked)
            handler = getattr(self, str(asked.method).lower())
            answer = await handler(asked, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 (as REST framework does: what cannot be explained is raised again)
            answer = await sync_to_async(self.handle_exception)(error)
        finished: HttpResponseBase = self.finalize_response(asked, answer, *args, **kwargs)  # type: ignore[arg-type]
        return finished


class SessionEvents(AsyncView):
    http_method_names = ["get"]
    content_negotiation_class = AsTold

    @extend_schema(tags=["sessions"])
    @operation(
        "A session's events, live",
        DESCRIPTION,
        answers={
            (200, "text/event-stream"): OpenApiResponse(
                OpenApiTypes.STR,
                description="The stream.",
                examples=[OpenApiExample("A call", value=examples.STREAM, media_type="text/event-stream")],
            ),
            204: OpenApiResponse(description="The session is over, and you have had everything."),
        },
        parameters=[
            Watching,
            OpenApiParameter(
                "Last-Event-ID", str, OpenApiParameter.HEADER, description="The id of the last event you have had."
            ),
        ],
        errors=(404, 410, 422, 503),
        operation_id="sessions_events",
    )
    async def get(self, request: Request, pk: str) -> HttpResponseBase:
        watching = _asked_for(request)
        place: Place | None = watching.get("after")
        session = await sync_to_async(_find)(request, pk)
        if session.is_over and not await has_more(session.id, place):
            if place is None:
                raise Gone
            return Response(status=204)
        stack = AsyncExitStack()
        try:
            stream = await open_stream(
                stack,
                session=session.id,
                last=place,
                interims=watching.get("interim") == "1",
                ask=lambda: sync_to_async(_standing)(request, pk),
            )
        except BaseException:
            await stack.aclose()
            raise
        return Streamed(_until_left(stack, stream))


async def _until_left(stack: AsyncExitStack, stream: EventStream) -> AsyncGenerator[str, None]:
    async with stack:
        async for text in stream.messages():
            yield text


def _asked_for(request: Request) -> dict[str, Any]:
    """What is wrong with the header is told by its own name."""
    query, last = request.query_params.dict(), request.headers.get("Last-Event-ID")
    if last and Place.read(last) is None:
        raise serializers.ValidationError({"Last-Event-ID": [BAD_PLACE]})
    return taken(Watching, query | ({"after": last} if last else {}))


def _find(request: Request, session: str) -> Session:
    found: Session | None = _visible(request).filter(id=session).first()
    if found is None:
        raise Http404
    return found


def _visible(request: Request) -> Any:
    if isinstance(request.auth, APIKey):
        return Session.objects.for_workspace(request.auth.workspace)
    return Session.objects.for_user(request.user)


def _standing(request: Request, session: str) -> Standing:
    """A key that was revoked and a member who has left read no further."""
    key = request.auth
    may_ask = not isinstance(key, APIKey) or APIKey.objects.valid().filter(pk=key.pk).exists()
    found = _visible(request).filter(id=session).first() if may_ask else None
    return Standing(may_read=found is not None, is_over=found is None or found.is_over)
