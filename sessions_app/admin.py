"""Sessions in the admin: to be read. Events write them, and nobody else."""

import json
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import action, display

from accounts_app.scoping import WORKSPACE_FILTER, ForSuperusers, ReadOnly, TabularRows, WithinWorkspaces
from sessions_app.models import (
    OVER,
    TALKING,
    BridgeCursor,
    Incident,
    Session,
    State,
    TranscriptEntry,
    Turn,
    TurnState,
    Usage,
)
from sessions_app.wording import tell_cost, tell_count, tell_cut, tell_kind, tell_marks, tell_short, tell_time

STATES = {
    State.LIVE.label: "success",
    State.CREATED.label: "info",
    State.ENDING.label: "warning",
    State.FAILED.label: "danger",
}
TURN_STATES = {
    TurnState.ANSWERED.label: "success",
    TurnState.ANSWERING.label: "info",
    TurnState.INTERRUPTED.label: "warning",
    TurnState.FAILED.label: "danger",
}
ON_A_TAB = 50


class InWords:
    """What a row says beside its columns: on its session's page as in the list of all sessions' rows."""

    @display(description="cut short", ordering="interrupted")
    def cut(self, entry: TranscriptEntry) -> str:
        return tell_cut(entry)

    @display(description="times")
    def marks(self, turn: Turn) -> str:
        return tell_marks(turn)

    @display(description="what happened", ordering="kind")
    def happened(self, incident: Incident) -> str:
        return tell_kind(incident)

    @display(description="counted", ordering="estimated")
    def counted(self, usage: Usage) -> str:
        return tell_count(usage)

    @display(description="cost", ordering="micros")
    def cost(self, usage: Usage) -> str:
        return tell_cost(usage)


class Rows(InWords, ReadOnly, TabularRows):
    """A tab of a session's page."""

    tab = True
    extra = 0
    hide_title = True
    per_page = ON_A_TAB

    @display(description="at")
    def clock(self, row: Any) -> str:
        """Within a call the seconds matter, and the day is on the first tab."""
        return f"{timezone.localtime(row.at):%H:%M:%S}"


class Transcript(Rows):
    model = TranscriptEntry
    fields = ["clock", "speaker", "text", "cut", "turn", "provider"]
    readonly_fields = ["clock", "cut"]
    verbose_name_plural = "transcript"


class Turns(Rows):
    model = Turn
    fields = ["number", "state", "detail", "cause", "text", "reply", "marks"]
    readonly_fields = ["marks"]
    verbose_name_plural = "turns"


class Incidents(Rows):
    model = Incident
    fields = ["clock", "happened", "role", "provider", "successor", "error", "detail"]
    readonly_fields = ["clock", "happened"]
    verbose_name_plural = "incidents"


class UsageRows(Rows):
    model = Usage
    fields = ["clock", "role", "provider", "model", "quantity", "unit", "counted", "cost"]
    readonly_fields = ["clock", "counted", "cost"]
    verbose_name_plural = "usage"


class Days(RangeDateFilter):
    """From the first day's beginning to the last one's end. What is no day is passed over."""

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if first := self._day("from"):
            rows = rows.filter(**{f"{self.field_path}__gte": _start_of(first)})
        if last := self._day("to"):
            rows = rows.filter(**{f"{self.field_path}__lt": _start_of(last + timedelta(days=1))})
        return rows

    def _day(self, end: str) -> date | None:
        try:
            return date.fromisoformat(self.used_parameters.get(f"{self.field_path}_{end}", ""))
        except ValueError:
            return None


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


class GoingOn(admin.SimpleListFilter):
    title = "going on"
    parameter_name = "now"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live now"), ("waiting", "Waiting for a caller"), ("over", "Over")]

    def queryset(self, request: HttpRequest, sessions: QuerySet[Any]) -> QuerySet[Any]:
        states = {"live": TALKING, "waiting": [State.CREATED], "over": OVER}.get(self.value() or "")
        return sessions.filter(state__in=states) if states else sessions


@admin.register(Session)
class SessionAdmin(ReadOnly, WithinWorkspaces):
    list_display = ["title", "status", "agent", "workspace", "transport", "caller", "created_at", "length", "reason"]
    list_filter = [
        GoingOn,
        "state",
        "transport",
        ("agent_version__agent", admin.RelatedOnlyFieldListFilter),
        ("created_at", Days),
        WORKSPACE_FILTER,
    ]
    list_filter_submit = True
    search_fields = ["id", "name", "caller", "called", "call_id"]
    search_help_text = "Id, name or number"
    list_select_related = ["workspace", "agent_version__agent"]
    actions_detail = ["open_live_page"]
    inlines = [Transcript, Turns, Incidents, UsageRows]
    readonly_fields = ["status", "agent", "length", "audio", "configuration"]
    fieldsets = [
        (
            None,
            {
                "fields": (
                    ("status", "reason"),
                    "detail",
                    ("agent", "agent_version"),
                    ("workspace", "transport"),
                    ("caller", "called"),
                    ("created_at", "live_at"),
                    ("ended_at", "length"),
                )
            },
        ),
        ("Configuration", {"classes": ["tab"], "fields": ("configuration",)}),
        (
            "Technical",
            {
                "classes": ["tab"],
                "fields": (
                    ("id", "call_id"),
                    ("revision", "turn"),
                    ("audio", "rate"),
                    ("owner", "epoch"),
                    ("last_sequence", "purged_at"),
                ),
            },
        ),
    ]

    @display(description="state", ordering="state", label=STATES)
    def status(self, session: Session) -> str:
        return session.get_state_display()

    @display(description="agent", ordering="agent_version__agent__name", empty_value="given inline")
    def agent(self, session: Session) -> str | None:
        return session.agent_version.agent.name if session.agent_version else None

    @display(description="duration")
    def length(self, session: Session) -> str:
        return tell_time(session.duration)

    @display(description="length of the audio")
    def audio(self, session: Session) -> str:
        return tell_time(timedelta(milliseconds=session.media_ms))

    @display(description="configuration document")
    def configuration(self, session: Session) -> SafeString:
        document = json.dumps(session.config, indent=2, ensure_ascii=False)
        return format_html('<pre class="document">{}</pre>', document)

    @action(description="Open its page", icon="open_in_new", permissions=["visit"], url_path="page")
    def open_live_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect("sessions:detail", object_id)

    def has_visit_permission(self, request: HttpRequest, session_id: str) -> bool:
        """The page is for members, and superusers may be none."""
        return Session.objects.for_user(request.user).filter(pk=session_id).exists()


class OfSession(InWords, ReadOnly, WithinWorkspaces):
    """A list of rows of all sessions."""

    list_select_related = ["session__agent_version__agent"]
    show_full_result_count = False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Without a search or filter all rows are shown already, and the page need not offer that."""
        shown = super().get_changelist_instance(request)
        if not (shown.query or shown.get_filters_params()):
            shown.full_result_count = shown.result_count
        return shown

    @display(description="session", ordering="session")
    def call(self, row: Any) -> str:
        """Usage outlives its session."""
        return row.session.title if row.session else "deleted"


@admin.register(Turn)
class TurnAdmin(OfSession):
    list_display = ["call", "number", "status", "said", "answered", "cause", "started_at"]
    list_filter = ["state", "cause", ("started_at", Days), WORKSPACE_FILTER]
    list_filter_submit = True
    search_fields = ["session__id", "text", "reply"]
    search_help_text = "Words, or a session's id"
    readonly_fields = ["marks"]
    fields = ["session", ("number", "state"), "detail", "text", "reply", "cause", ("started_at", "ended_at"), "marks"]

    @display(description="state", ordering="state", label=TURN_STATES)
    def status(self, turn: Turn) -> str:
        return turn.get_state_display()

    @display(description="the caller said")
    def said(self, turn: Turn) -> str:
        return tell_short(turn.text)

    @display(description="the agent said")
    def answered(self, turn: Turn) -> str:
        return tell_short(turn.reply)


@admin.register(TranscriptEntry)
class TranscriptEntryAdmin(OfSession):
    list_display = ["call", "at", "speaker", "words", "cut"]
    list_filter = ["speaker", "interrupted", ("at", Days), WORKSPACE_FILTER]
    list_filter_submit = True
    search_fields = ["session__id", "text"]
    search_help_text = "Words, or a session's id"
    fields = ["session", ("at", "speaker"), "text", ("turn", "cut"), "provider"]
    readonly_fields = ["cut"]

    @display(description="text")
    def words(self, entry: TranscriptEntry) -> str:
        return tell_short(entry.text)


@admin.register(Usage)
class UsageAdmin(OfSession):
    list_display = ["at", "call", "role", "provider", "model", "quantity", "unit", "counted", "cost"]
    list_filter = ["role", "provider", "unit", "estimated", ("at", Days), WORKSPACE_FILTER]
    list_filter_submit = True
    search_fields = ["session__id", "model"]
    readonly_fields = ["counted", "cost"]
    fields = [
        ("session", "turn"),
        ("at", "role"),
        ("provider", "model"),
        ("quantity", "unit"),
        ("counted", "cost"),
        "price_version",
    ]


@admin.register(Incident)
class IncidentAdmin(OfSession):
    list_display = ["at", "call", "happened", "role", "provider", "successor", "error", "what"]
    list_filter = ["kind", "role", "provider", ("at", Days), WORKSPACE_FILTER]
    list_filter_submit = True
    search_fields = ["session__id", "detail"]
    readonly_fields = ["happened"]
    fields = [
        ("session", "turn"),
        ("at", "happened"),
        ("role", "error"),
        ("provider", "successor"),
        "detail",
        "ms",
    ]

    @display(description="detail")
    def what(self, incident: Incident) -> str:
        return tell_short(incident.detail)


@admin.register(BridgeCursor)
class BridgeCursorAdmin(ReadOnly, ForSuperusers):
    list_display = ["stream", "sequence", "stream_created", "moved_at"]
