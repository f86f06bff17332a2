"""Agents: what an operator edits, the numbered versions that sessions run, and the pipelines that agents share.

Name, description, number and capabilities say which agent it is; the configuration document (prompts, pipeline,
connectors, model, parameters, greeting …) says how it behaves, and only this is versioned.
"""

from typing import Any, ClassVar, Never

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from accounts_app.models import OwnedQuerySet, User, Workspace, validate_slug
from pipelines_app.flows import Flow, FlowStep

validate_phone_number = RegexValidator(r"\A\+[1-9][0-9]{1,14}\Z", "Use the international form: + and up to 15 digits.")


def validate_words(value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(word, str) and word.strip() for word in value):
        raise ValidationError('Give a list of words, such as ["booking", "german"].')


class Service(models.TextChoices):
    TRANSPORT = "transport", "Caller (transport)"
    STT = "stt", "Hearing (stt)"
    LLM = "llm", "Thinking (llm)"
    TTS = "tts", "Speaking (tts)"


class Stream(models.TextChoices):
    AUDIO = "audio"
    TEXT = "text"


class ImmutableVersion(TypeError):
    """A published version was about to be changed or deleted."""

    def __init__(self) -> None:
        super().__init__("a published version cannot be changed or deleted; publish a new one")


class PipelineQuerySet(OwnedQuerySet["Pipeline"]):
    pass


class Pipeline(models.Model):
    """Steps under a name, for many agents. An agent's document holds a copy, so that its versions stay as they were."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="pipelines")
    slug = models.CharField(max_length=64, validators=[validate_slug])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PipelineQuerySet.as_manager()

    class Meta:
        ordering = ["workspace_id", "name", "slug"]
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="one_pipeline_per_slug")]

    def __str__(self) -> str:
        return self.name

    def flow(self) -> Flow:
        """As an agent's document takes it."""
        steps = tuple(step.as_document() for step in self.steps.all())
        return Flow(self.slug, self.name, self.description, steps)


class PipelineStep(models.Model):
    """One service hands what it makes to the next."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField(default=0, help_text="Steps are listed by this number.")
    source = models.CharField("from", max_length=16, choices=Service)
    target = models.CharField("to", max_length=16, choices=Service)
    stream = models.CharField(max_length=16, choices=Stream, help_text="What is handed on.")

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(source__in=Service.values), name="step_source_is_known"),
            models.CheckConstraint(condition=Q(target__in=Service.values), name="step_target_is_known"),
            models.CheckConstraint(condition=Q(stream__in=Stream.values), name="step_stream_is_known"),
            models.CheckConstraint(
                condition=~Q(source=F("target")),
                name="step_joins_two_services",
                violation_error_message="A step joins two services: choose different ones.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} to {self.target}"

    def as_document(self) -> FlowStep:
        return {"from": self.source, "to": self.target, "stream": self.stream}


class AgentQuerySet(OwnedQuerySet["Agent"]):
    pass


class Agent(models.Model):
    """`published` is the version that new sessions run: always the one with the highest number.

    Rolling back publishes the older content again under a new number, so that the numbers tell the whole history.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="agents")
    slug = models.CharField(max_length=64, validators=[validate_slug])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    phone_number = models.CharField(
        max_length=16, blank=True, validators=[validate_phone_number], help_text="Calls to this number reach the agent."
    )
    is_default = models.BooleanField(default=False, help_text="Answers calls of the workspace that name no agent.")
    capabilities = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text='Words, such as ["booking", "german"].',
    )
    draft = models.JSONField(default=dict, help_text="The configuration document that will be published next.")
    published = models.ForeignKey(
        "AgentVersion", null=True, editable=False, on_delete=models.PROTECT, related_name="current_of"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ["workspace_id", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "slug"], name="one_agent_per_slug"),
            models.UniqueConstraint(
                fields=["phone_number"], condition=~Q(phone_number=""), name="one_agent_per_phone_number"
            ),
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(is_default=True), name="one_default_agent_per_workspace"
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class AgentVersionQuerySet(OwnedQuerySet["AgentVersion"]):
    workspace_path: ClassVar[str] = "agent__workspace"

    def update(self, **values: Any) -> Never:
        raise ImmutableVersion

    def delete(self) -> Never:
        raise ImmutableVersion


class AgentVersion(models.Model):
    """What sessions run. Written once."""

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    config = models.JSONField()
    sha256 = models.CharField(max_length=64)
    """The whole fingerprint of the document, of which `revision` is the beginning."""
    revision = models.CharField(max_length=64)
    """The name of the configuration document's content on the bus, as `mesh.config.json_text.revision` gives it."""
    note = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(auto_now_add=True)
    published_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    is_new = False
    """Whether it was made just now: publishing what the newest version says makes none."""

    objects = AgentVersionQuerySet.as_manager()

    class Meta:
        ordering = ["agent_id", "-number"]
        constraints = [models.UniqueConstraint(fields=["agent", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ImmutableVersion
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise ImmutableVersion
