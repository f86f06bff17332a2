"""What the API takes and tells of agents, versions and pipelines."""

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts_app.bodies import Document, Line, Strict, Text
from accounts_app.models import validate_slug
from mesh.config.problems import ConfigError
from pipelines_app.actions import check_document
from pipelines_app.flows import FlowStep
from pipelines_app.models import Agent, AgentVersion, Pipeline, Service, Stream, validate_phone_number, validate_words
from pipelines_app.warning import all_warnings

DOCUMENT = {"$ref": "#/components/schemas/AgentDocument"}
AgentDocument = {"application/json": DOCUMENT}
"""As a body: the document itself."""
LONGEST_TEXT = 100_000
WARNINGS = (
    "For people: which providers are not set up or are asked for too much, what looks like a mistake, and what that "
    "means. Empty when all is well."
)


@extend_schema_field(DOCUMENT)
class CheckedDocument(Document):
    """Names every problem by its path in the document."""

    def to_internal_value(self, data: Any) -> Any:
        document = super().to_internal_value(data)
        try:
            check_document(document)
        except ConfigError as error:
            problems: dict[str, list[str]] = {}
            for each in error.problems:
                problems.setdefault(each.path or "__all__", []).append(each.message)
            raise serializers.ValidationError(problems) from None
        return document


class Words(serializers.ListField):
    child = Line(max_length=100)

    def to_internal_value(self, data: Any) -> Any:
        words = super().to_internal_value(data)
        try:
            validate_words(words)
        except ModelError as error:
            raise serializers.ValidationError(error.messages) from None
        return words


# -- agents ----------------------------------------------------------------------------------------------


class AgentAnswer(serializers.ModelSerializer[Agent]):
    workspace = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    published = serializers.SlugRelatedField[Any](
        slug_field="number", read_only=True, allow_null=True, help_text="The number of the version that sessions run."
    )
    capabilities = serializers.ListField(child=serializers.CharField(), read_only=True)
    draft = serializers.DictField(read_only=True, help_text="An AgentDocument, or one that is still being written.")

    class Meta:
        model = Agent
        fields = [
            "workspace",
            "slug",
            "name",
            "description",
            "phone_number",
            "is_default",
            "capabilities",
            "published",
            "draft",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class AgentChange(Strict):
    name = Line(max_length=120, required=False)
    description = Text(max_length=LONGEST_TEXT, required=False, allow_blank=True)
    phone_number = Line(
        max_length=16,
        required=False,
        allow_blank=True,
        validators=[validate_phone_number],
        help_text="Calls to this number reach the agent: + and up to 15 digits.",
    )
    is_default = serializers.BooleanField(
        required=False, help_text="Answers calls of the workspace that name no agent; one agent at a time."
    )
    capabilities = Words(required=False, max_length=100)
    draft = CheckedDocument(required=False)


class NewAgent(AgentChange):
    workspace = Line(max_length=64, required=False, help_text="Its slug; not needed by who has one only.")
    slug = Line(max_length=64, validators=[validate_slug])
    draft = CheckedDocument()
    publish = serializers.BooleanField(required=False, default=False)


class Publishing(Strict):
    note = Line(max_length=200, required=False, allow_blank=True)


class Restoring(Strict):
    overwrite_draft = serializers.BooleanField(
        default=False, help_text="Replace the draft also when no version says what it says, so that it is lost."
    )


@extend_schema_field(DOCUMENT)
class StoredDocument(serializers.JSONField):
    """As it was published."""


class VersionAnswer(serializers.ModelSerializer[AgentVersion]):
    agent = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    workspace = serializers.CharField(source="agent.workspace.slug", read_only=True)
    published_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True, allow_null=True)
    config = StoredDocument(read_only=True)

    class Meta:
        model = AgentVersion
        fields = [
            "workspace",
            "agent",
            "number",
            "note",
            "published_at",
            "published_by",
            "revision",
            "config",
        ]
        read_only_fields = fields


class PublishedAnswer(VersionAnswer):
    """What publishing and rolling back did."""

    is_new = serializers.BooleanField(
        read_only=True, help_text="False: the newest version said the same already, and no other was added."
    )
    warnings = serializers.SerializerMethodField(help_text=WARNINGS)

    class Meta(VersionAnswer.Meta):
        fields = [*VersionAnswer.Meta.fields, "is_new", "warnings"]
        read_only_fields = fields

    def get_warnings(self, version: AgentVersion) -> list[str]:
        return all_warnings(version.config, version.agent.workspace_id)


class RestoredAnswer(AgentAnswer):
    """What restoring did. `published` is still what sessions run."""

    restored = serializers.SerializerMethodField(help_text="The number of the version that the draft is now as.")
    warnings = serializers.SerializerMethodField(help_text=WARNINGS)

    class Meta(AgentAnswer.Meta):
        fields = [*AgentAnswer.Meta.fields, "restored", "warnings"]
        read_only_fields = fields

    def get_restored(self, agent: Agent) -> int:
        number: int = self.context["restored"]
        return number

    def get_warnings(self, agent: Agent) -> list[str]:
        return all_warnings(agent.draft, agent.workspace_id)


@extend_schema_field({"type": "string", "pattern": "^(draft|[0-9]{1,9})$"})
class VersionName(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> int | str:
        if data == "draft":
            return "draft"
        if isinstance(data, str) and data.isascii() and data.isdecimal() and len(data) < 10:
            return int(data)
        raise serializers.ValidationError("must be a version's number, or draft")


class Which(Strict):
    version = VersionName(required=False, help_text="A version's number, or `draft`.")


class Comparing(Strict):
    old = VersionName(required=False, help_text="A version's number, or `draft`.")
    new = VersionName(required=False, help_text="A version's number, or `draft`.")


class DifferenceAnswer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="As in `turn.stop_ms`.")
    old = serializers.JSONField(required=False, help_text="Left out where the older one has nothing there.")
    new = serializers.JSONField(required=False, help_text="Left out where the newer one has nothing there.")


class ComparisonAnswer(serializers.Serializer[Any]):
    old = serializers.CharField()
    new = serializers.CharField()
    differences = DifferenceAnswer(many=True)


# -- pipelines -------------------------------------------------------------------------------------------


class StepAnswer(serializers.Serializer[Any]):
    """One service hands what it makes to the next."""

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's."""
        return {
            "from": serializers.ChoiceField(Service.choices),
            "to": serializers.ChoiceField(Service.choices),
            "stream": serializers.ChoiceField(Stream.choices),
        }


class NewStep(StepAnswer, Strict):
    def validate(self, step: FlowStep) -> FlowStep:
        if step["from"] == step["to"]:
            raise serializers.ValidationError("a step joins two services")
        return step


class PipelineAnswer(serializers.ModelSerializer[Pipeline]):
    workspace = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    steps = serializers.SerializerMethodField()

    class Meta:
        model = Pipeline
        fields = ["workspace", "slug", "name", "description", "steps", "created_at", "updated_at"]
        read_only_fields = fields

    @extend_schema_field(StepAnswer(many=True))
    def get_steps(self, pipeline: Pipeline) -> list[FlowStep]:
        return list(pipeline.flow().steps)


class PipelineChange(Strict):
    name = Line(max_length=120, required=False)
    description = Text(max_length=LONGEST_TEXT, required=False, allow_blank=True)
    steps = serializers.ListField(child=NewStep(), required=False, allow_empty=False, max_length=50)


class NewPipeline(PipelineChange):
    workspace = Line(max_length=64, required=False, help_text="Its slug; not needed by who has one only.")
    slug = Line(max_length=64, validators=[validate_slug])
    steps = serializers.ListField(child=NewStep(), allow_empty=False, max_length=50)
