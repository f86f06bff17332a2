"""What is kept of a call: its session, turns, transcript, usage and incidents, and the bridge's place in the stream.

Every row is made from canonical events by `fold.py`. Nothing else writes them, so the stream can always be read again.
"""

from datetime import datetime, timedelta
from typing import Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts_app.models import OwnedQuerySet, Workspace
from mesh.subjects import SESSION_ID
from pipelines_app.models import AgentVersion

EVENT_ID_LENGTH = 160

validate_session_id = RegexValidator(rf"\A{SESSION_ID.pattern}\Z", "Use up to 64 letters, digits, - and _.")


class State(models.TextChoices):
    CREATED = "created"
    LIVE = "live"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"


TALKING = [State.LIVE, State.ENDING]
OVER = [State.ENDED, State.FAILED]


class SessionQuerySet(OwnedQuerySet["Session"]):
    def open(self) -> Self:
        """Those whose transport must be there: created, speaking or ending."""
        return self.exclude(state__in=OVER)

    def waiting(self) -> Self:
        """Nobody has joined them yet."""
        return self.filter(state=State.CREATED)

    def live(self) -> Self:
        """Somebody is there."""
        return self.filter(state__in=TALKING)

    def to_purge(self, *, ended_before: datetime) -> Self:
        """Those whose events the stream need not keep any longer."""
        return self.filter(purged_at=None, ended_at__lt=ended_before)

    def forgettable(self, *, ended_before: datetime) -> Self:
        """Those that are over and that the stream has forgotten: until then an event could still name one."""
        return self.filter(state__in=OVER, ended_at__lt=ended_before, purged_at__isnull=False)


class Session(models.Model):
    """One call or chat. Its state is what its transport said last."""

    id = models.CharField(primary_key=True, max_length=64, validators=[validate_session_id])
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="sessions")
    agent_version = models.ForeignKey(
        AgentVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="sessions"
    )
    name = models.CharField(max_length=200, blank=True)
    transport = models.CharField(max_length=32)
    state = models.CharField(max_length=8, choices=State, default=State.CREATED)
    reason = models.CharField(max_length=64, blank=True, help_text="Why it is over.")
    detail = models.TextField(blank=True)
    caller = models.CharField(max_length=128, blank=True)
    called = models.CharField(max_length=128, blank=True)
    call_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField()
    live_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    media_ms = models.BigIntegerField(default=0, help_text="Length of the media clock at the end.")
    rate = models.PositiveIntegerField(default=0, help_text="Samples a second on the wire.")
    config = models.JSONField(default=dict, blank=True)
    revision = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict, blank=True)
    turn = models.PositiveBigIntegerField(default=0, help_text="The number of the last turn.")
    owner = models.CharField(max_length=128, blank=True, help_text="The transport worker that holds the session.")
    epoch = models.PositiveBigIntegerField(default=0, help_text="How often the session has had another owner.")
    last_sequence = models.BigIntegerField(default=0, help_text="The last event of the session that is in the rows.")
    purged_at = models.DateTimeField(null=True, blank=True, help_text="When the stream forgot the session.")

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="session_by_workspace"),
            models.Index(fields=["state"], condition=~Q(state__in=OVER), name="session_live"),
            models.Index(fields=["ended_at"], condition=Q(purged_at=None), name="session_to_purge"),
            models.Index(
                fields=["workspace", "ended_at"], condition=Q(purged_at__isnull=False), name="session_to_forget"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="session_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=OVER, ended_at__isnull=False) | (~Q(state__in=OVER) & Q(ended_at__isnull=True)),
                name="session_over_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.id

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def duration(self) -> timedelta:
        """How long the caller has been, or was, there."""
        if self.live_at is None:
            return timedelta()
        return (self.ended_at or timezone.now()) - self.live_at

    @property
    def title(self) -> str:
        """What people call it. Pages show the time as the reader's clock has it."""
        return self.name or f"{self.made_of}, {self.created_at:%H:%M} UTC"

    @property
    def made_of(self) -> str:
        return self.agent_version.agent.name if self.agent_version else "Own document"

    def go_live(self, *, at: datetime, rate: int) -> None:
        if self.state == State.CREATED:
            self.state = State.LIVE
        self.live_at = self.live_at or at
        self.rate = rate

    def end(self, *, at: datetime, reason: str, detail: str, failed: bool, media_ms: int) -> None:
        """The first end counts."""
        if not self.is_over:
            self.state = State.FAILED if failed else State.ENDED
            self.ended_at, self.reason, self.detail, self.media_ms = at, reason, detail, media_ms


class SessionRow(models.Model):
    """A row of a session. The workspace stands in it too, so that every question can be asked within one."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")

    class Meta:
        abstract = True


class TurnState(models.TextChoices):
    LISTENING = "listening"
    ANSWERING = "answering"
    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    DISCARDED = "discarded"
    FAILED = "failed"


FINALITY = [TurnState.ANSWERED, TurnState.FAILED, TurnState.DISCARDED, TurnState.INTERRUPTED]
"""How an answer went, where more than one is told of it: the last of these holds, whatever came first."""


class TurnQuerySet(OwnedQuerySet["Turn"]):
    pass


class Turn(SessionRow):
    """What the caller said, and what was heard of the answer."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveBigIntegerField()
    generation = models.PositiveBigIntegerField(default=0)
    cause = models.CharField(max_length=16, blank=True, help_text="speech or typed")
    text = models.TextField(blank=True, help_text="The caller's.")
    reply = models.TextField(blank=True, help_text="What was heard of the agent.")
    state = models.CharField(max_length=16, choices=TurnState, default=TurnState.LISTENING)
    detail = models.TextField(blank=True, help_text="Why it failed.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When the caller had finished.")
    waterfall = models.JSONField(
        default=dict, blank=True, help_text="Milliseconds since the caller's last sound, or since the typed text came."
    )

    objects = TurnQuerySet.as_manager()

    class Meta:
        ordering = ["session_id", "number"]
        constraints = [models.UniqueConstraint(fields=["session", "number"], name="one_turn_per_number")]

    def __str__(self) -> str:
        return f"{self.session_id}: turn {self.number}"

    def hear(self, *, text: str, cause: str, generation: int, at: datetime) -> None:
        """The caller has finished. A later generation is the same turn, said again with more words."""
        if self.ended_at is None or generation > self.generation:
            self.text, self.cause, self.generation, self.ended_at = text, cause, generation, at
            self.state, self.detail = TurnState.ANSWERING, ""

    def settle(self, state: TurnState, *, generation: int, detail: str = "") -> None:
        """How the answer went. What is said of another generation (an announcement, a dropped answer) is not it."""
        if generation == self.generation and _finality(state) > _finality(self.state):
            self.state, self.detail = state, detail


def _finality(state: str) -> int:
    return FINALITY.index(TurnState(state)) if state in FINALITY else -1


class Speaker(models.TextChoices):
    CALLER = "caller"
    AGENT = "agent"
    SYSTEM = "system"


class TranscriptQuerySet(OwnedQuerySet["TranscriptEntry"]):
    def after(self, position: int) -> Self:
        """Those stored later than the entry of that id. Ids, unlike sequences, go on when a stream is lost."""
        return self.filter(id__gt=position)

    def by(self, speaker: Speaker) -> Self:
        return self.filter(speaker=speaker)


class TranscriptEntry(SessionRow):
    """One utterance of the caller, or one sentence of the agent as far as it was heard."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="transcript")
    event_id = models.CharField(max_length=EVENT_ID_LENGTH, unique=True)
    sequence = models.BigIntegerField(help_text="Of the event in the stream.")
    speaker = models.CharField(max_length=8, choices=Speaker)
    text = models.TextField()
    turn = models.PositiveBigIntegerField(default=0)
    generation = models.PositiveBigIntegerField(default=0)
    sentence = models.PositiveBigIntegerField(default=0)
    at = models.DateTimeField()
    heard_samples = models.PositiveBigIntegerField(default=0)
    interrupted = models.BooleanField(default=False)
    provider = models.CharField(max_length=64, blank=True)

    objects = TranscriptQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "transcript entries"
        indexes = [models.Index(fields=["session", "id"], name="transcript_in_order")]
        constraints = [
            models.CheckConstraint(condition=Q(speaker__in=Speaker.values), name="transcript_speaker_is_known"),
            models.UniqueConstraint(
                fields=["session", "generation", "sentence"],
                condition=Q(speaker=Speaker.AGENT),
                name="one_entry_per_sentence",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.speaker} in {self.session_id}"


class UsageQuerySet(OwnedQuerySet["Usage"]):
    pass


class Usage(SessionRow):
    """What one provider attempt used. Integers only: units, and millionths of the price's currency.

    It holds nothing that was said, and stays for the bill when its session is deleted.
    """

    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.SET_NULL, related_name="usage")
    event_id = models.CharField(max_length=EVENT_ID_LENGTH, unique=True)
    turn = models.PositiveBigIntegerField(default=0)
    utterance = models.PositiveBigIntegerField(default=0, help_text="That a recogniser was at.")
    role = models.CharField(max_length=16)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=128, blank=True)
    unit = models.CharField(max_length=32)
    quantity = models.BigIntegerField()
    estimated = models.BooleanField(default=False)
    micros = models.BigIntegerField(default=0)
    price_version = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()

    objects = UsageQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "usage"
        indexes = [models.Index(fields=["workspace", "at"], name="usage_by_workspace")]

    def __str__(self) -> str:
        return f"{self.role} {self.provider}: {self.quantity} {self.unit}"


class IncidentQuerySet(OwnedQuerySet["Incident"]):
    pass


class Incident(SessionRow):
    """Something that did not go as planned: a provider that failed or was left, an answer or a sentence not given."""

    class Kind(models.TextChoices):
        PROVIDER_FAILED = "provider.failed"
        PROVIDER_SWITCHED = "provider.switched"
        REPLY_FAILED = "reply.failed"
        SENTENCE_FAILED = "sentence.failed"
        APOLOGISED = "apologised"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="incidents")
    event_id = models.CharField(max_length=EVENT_ID_LENGTH, unique=True)
    kind = models.CharField(max_length=24, choices=Kind)
    role = models.CharField(max_length=16)
    provider = models.CharField(max_length=64, blank=True)
    successor = models.CharField(max_length=64, blank=True, help_text="The provider that went on.")
    error = models.CharField(max_length=32, blank=True, help_text="The kind of error, as connectors name them.")
    detail = models.TextField(blank=True)
    turn = models.PositiveBigIntegerField(default=0)
    utterance = models.PositiveBigIntegerField(default=0, help_text="That a recogniser was at.")
    generation = models.PositiveBigIntegerField(default=0)
    sentence = models.PositiveBigIntegerField(null=True, blank=True)
    ms = models.PositiveBigIntegerField(default=0, help_text="How long the attempt took.")
    at = models.DateTimeField()

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["workspace", "-at"], name="incident_by_workspace")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.provider or self.role}"


class CursorMoved(Exception):
    """Another bridge has written rows in between; start again from the stored place."""


class BridgeCursor(models.Model):
    """The bridge's place in a stream, moved in the transaction that writes the rows up to there."""

    stream = models.CharField(max_length=32, unique=True)
    stream_created = models.CharField(max_length=64, help_text="A stream made anew counts from the beginning.")
    sequence = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["stream"]

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence}"

    @classmethod
    def at(cls, stream: str, *, created: str) -> "BridgeCursor":
        """The stored place in this very stream; its beginning when it is new here."""
        cursor, _ = cls.objects.get_or_create(stream=stream, defaults={"stream_created": created})
        if cursor.stream_created != created:
            cursor.stream_created, cursor.sequence = created, 0
            cursor.save()
        return cursor

    def advance(self, sequence: int) -> None:
        """Move on, if nobody else did; raises CursorMoved. To be called inside the rows' transaction."""
        mine = type(self).objects.filter(pk=self.pk, stream_created=self.stream_created, sequence=self.sequence)
        if not mine.update(sequence=sequence, moved_at=timezone.now()):
            raise CursorMoved(self.stream)
        self.sequence = sequence
