"""What the API takes and tells of sessions and what was said in them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts_app.bodies import Document, Line, Strict, Text
from mesh.asking import MAX_SAY
from mesh.config.document import NAME
from mesh.config.problems import ConfigError
from mesh.config.reading import read_variables
from pipelines_app.serializers import DOCUMENT
from sessions_app.models import Incident, Session, State, TranscriptEntry, Turn, Usage


class SessionAnswer(serializers.ModelSerializer[Session]):
    workspace = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    agent = serializers.CharField(source="agent_version.agent.slug", default=None, read_only=True, allow_null=True)
    version = serializers.IntegerField(source="agent_version.number", default=None, read_only=True, allow_null=True)
    turns = serializers.IntegerField(source="turn", read_only=True, help_text="How many turns were begun.")
    duration_ms = serializers.SerializerMethodField(help_text="How long the caller has been, or was, there.")

    class Meta:
        model = Session
        fields = [
            "id",
            "workspace",
            "name",
            "agent",
            "version",
            "transport",
            "state",
            "reason",
            "detail",
            "caller",
            "called",
            "created_at",
            "live_at",
            "ended_at",
            "duration_ms",
            "turns",
            "revision",
        ]
        read_only_fields = fields

    def get_duration_ms(self, session: Session) -> int:
        return round(session.duration.total_seconds() * 1000)


@extend_schema_field({"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": True})
class SessionVariables(Document):
    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_variables(super().to_internal_value(data))
        except ConfigError as error:
            problems = {each.path.removeprefix("variables."): [each.message] for each in error.problems}
            raise serializers.ValidationError(problems) from None


class NewSession(Strict):
    workspace = Line(max_length=64, required=False, help_text="Its slug; not needed by who has one only.")
    agent = Line(max_length=64, required=False, help_text="The slug of a published agent. Without it: the default.")
    version = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="A version of the agent. Without it: the published."
    )
    config = extend_schema_field(DOCUMENT)(Document)(
        required=False, help_text="A configuration document instead of an agent."
    )
    variables = SessionVariables(
        required=False,
        help_text="What the names in the agent's templates stand for in this session, beside the agent's own values or "
        "in their place.",
    )
    name = Line(max_length=200, required=False, allow_blank=True, default="")
    caller = Line(max_length=128, required=False, allow_blank=True, default="", help_text="Who will speak.")
    captions = serializers.BooleanField(required=False, default=True, help_text="The caller also gets the transcript.")
    transport = serializers.ChoiceField(
        ["websocket", "daily"],
        required=False,
        help_text="Without it: daily, which is a room, where the document says so, else the websocket.",
    )
    max_participants = serializers.IntegerField(
        required=False, min_value=1, max_value=1000, help_text="People in the room at the same time."
    )
    enable_recording = serializers.BooleanField(required=False, default=False, help_text="The room may be recorded.")
    enable_transcription = serializers.BooleanField(
        required=False, default=False, help_text="The room's provider transcribes, too."
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "config" in asked and ("agent" in asked or "version" in asked):
            raise serializers.ValidationError({"config": ["give a document or an agent, not both"]})
        if "config" in asked and "variables" in asked:
            raise serializers.ValidationError({"variables": ["stand in the document, as its `variables`"]})
        if "version" in asked and "agent" not in asked:
            raise serializers.ValidationError({"version": ["needs the agent that it is a version of"]})
        return asked


class StartedSession(serializers.Serializer[Any]):
    id = serializers.CharField()
    workspace = serializers.CharField()
    agent = serializers.CharField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    socket_url = serializers.CharField(
        allow_null=True, help_text="Where the caller speaks, once: see docs/websocket-protocol.md. Null with a room."
    )
    room_url = serializers.CharField(allow_null=True, help_text="Where people meet, by the token. Null with a socket.")
    token = serializers.CharField(help_text="The last part of the socket's address, or what opens the room.")
    expires_in = serializers.IntegerField(help_text="Seconds in which the caller has to come, and a room is open.")
    notices = serializers.ListField(child=serializers.CharField(), help_text="What was asked for and is not given.")


class PersonAnswer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="Of this stay in the room.")
    name = serializers.CharField(help_text="Empty: nobody has said.")
    joined_at = serializers.CharField()


class PresenceAnswer(serializers.Serializer[Any]):
    people = PersonAnswer(many=True)


class Wanted(Strict):
    """What a list of sessions is narrowed to."""

    state = serializers.ChoiceField(
        [*State.values, "open", "over"], required=False, help_text="`open`: not over yet. `over`: ended or failed."
    )
    agent = Line(max_length=64, required=False, help_text="The slug of an agent.")
    since = serializers.DateTimeField(required=False, help_text="Created then or later.")
    until = serializers.DateTimeField(required=False, help_text="Created earlier than this.")
    workspace = Line(max_length=64, required=False, help_text="The slug of a workspace.")


class Saying(Strict):
    text = Text(max_length=MAX_SAY, help_text="The agent speaks it as soon as nobody has the floor.")

    def validate_text(self, text: str) -> str:
        if not text.strip():
            raise serializers.ValidationError("must not be empty")
        return text


class ConfigAnswer(serializers.Serializer[Any]):
    revision = serializers.CharField()
    config = serializers.DictField(help_text="The configuration document as the session has it.")


class ChangedConfig(serializers.Serializer[Any]):
    revision = serializers.CharField(help_text="Holds from the session's next turn on.")


# -- what is kept of a session -----------------------------------------------------------------------------


class EntryAnswer(serializers.ModelSerializer[TranscriptEntry]):
    class Meta:
        model = TranscriptEntry
        fields = ["id", "event_id", "speaker", "text", "turn", "at", "interrupted", "provider"]
        read_only_fields = fields


class WaterfallAnswer(serializers.Serializer[Any]):
    """Milliseconds since the caller's last sound; where `cause` is `typed`, since the text came. Only what happened."""

    transcript = serializers.IntegerField(required=False, help_text="The final transcript was there.")
    turn_end = serializers.IntegerField(required=False, help_text="The caller's turn was over, the answer asked for.")
    first_token = serializers.IntegerField(required=False, help_text="The model's first token came.")
    first_sentence = serializers.IntegerField(required=False, help_text="The model's first sentence was complete.")
    first_audio = serializers.IntegerField(required=False, help_text="The voice's first audio came.")
    first_sample = serializers.IntegerField(required=False, help_text="The first of it was sent to the caller.")
    first_text = serializers.IntegerField(
        required=False, help_text="The first sentence was sent to the caller, in a pipeline without a voice."
    )


class TurnAnswer(serializers.ModelSerializer[Turn]):
    waterfall = WaterfallAnswer(read_only=True)

    class Meta:
        model = Turn
        fields = ["number", "state", "detail", "cause", "text", "reply", "started_at", "ended_at", "waterfall"]
        read_only_fields = fields


class UsageAnswer(serializers.ModelSerializer[Usage]):
    class Meta:
        model = Usage
        fields = [
            "id",
            "turn",
            "role",
            "provider",
            "model",
            "unit",
            "quantity",
            "estimated",
            "micros",
            "price_version",
            "at",
        ]
        read_only_fields = fields
        extra_kwargs = {"micros": {"help_text": "Millionths of the price's currency; 0 where no price is known."}}


class IncidentAnswer(serializers.ModelSerializer[Incident]):
    class Meta:
        model = Incident
        fields = ["id", "kind", "role", "provider", "successor", "error", "detail", "turn", "ms", "at"]
        read_only_fields = fields
