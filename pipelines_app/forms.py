"""The form of an agent: its document taken apart into fields, and put together again when it is saved."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.db import transaction
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts_app.models import Workspace
from connectors_app.base.connector import Role
from connectors_app.option_forms import OptionForm, TextField, option_form
from mesh.config.document import AgentConfig
from mesh.config.json_text import revision
from mesh.config.problems import ConfigError, Problem
from pipelines_app import drafts
from pipelines_app.actions import check_document
from pipelines_app.chosen_credentials import TITLE, ChosenCredentials
from pipelines_app.drawing import Arrow, Picture, draw
from pipelines_app.fields import VariablesField, WordsField
from pipelines_app.flows import READY_MADE, Flow
from pipelines_app.models import Agent, Pipeline
from pipelines_app.providers import Keys, ProviderList

TRANSPORTS = {
    "websocket": "Browser and own programs (websocket)",
    "twilio": "Phone calls (twilio)",
    "daily": "Video rooms (daily)",
}
SECTIONS = {
    name: option_form(field.annotation)
    for name, field in AgentConfig.model_fields.items()
    if isinstance(field.annotation, type) and field.annotation.__name__ in ("TurnOptions", "Limits", "SpeechOptions")
}
"""The parts of the document that are options of our own: each key with its form."""
TEXTS = ("system_prompt", "context_instructions", "user_template", "greeting")
"""The document's texts that are empty when it does not have them."""
MORE = ("context_instructions", "user_template", "variables")
"""What most agents do without."""
APOLOGY: str = AgentConfig.model_fields["apology"].default
TITLES = {"turn": "Taking turns", "limits": "Limits", "speech": "Speech"}

CHANGED_MEANWHILE = (
    "Somebody else has saved this agent since you opened it, so nothing was saved. "
    "Copy what you want to keep, and open the agent again."
)


SHOWN = ("name", "slug", "description", "phone_number", "capabilities", "is_default", "draft")
"""The columns that the form shows."""


@dataclass(frozen=True, slots=True)
class PipelineChoice:
    """What the page shows when this pipeline is the chosen one."""

    key: str
    flow: Flow
    is_chosen: bool

    @property
    def picture(self) -> Picture:
        return picture_of(self.flow)

    @property
    def roles(self) -> str:
        return " ".join(drafts.roles(self.flow.steps))


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    """`workspaces` are those in which the reader may build; `environ` tells which providers have a key."""

    workspaces: ClassVar[Any] = Workspace.objects.none()
    environ: ClassVar[Mapping[str, str]] = {}

    default = forms.BooleanField(
        label="Default agent",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Answers calls of the workspace that name no agent. Another agent that does so now will stop.",
    )
    capabilities = WordsField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "booking, german"}),
        help_text="Words, with commas between them.",
    )
    system_prompt = TextField(
        max_length=100_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12}),
        help_text="Who the agent is, what it knows and how it answers.",
    )
    context_instructions = TextField(
        required=False,
        max_length=100_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Sent below the system prompt, with its names filled in: {session_id}, {input_data} for what the "
        "caller said last, and the variables.",
    )
    user_template = TextField(
        required=False,
        max_length=100_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="What the model gets when the caller speaks. {input_data} is what was said; without it, that follows "
        "below. Empty: the words alone.",
    )
    variables = VariablesField(
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 3, "spellcheck": "false", "placeholder": '{"opening_hours": "8 to 4"}'}
        ),
        help_text="What the names stand for, as a JSON object. A session may be started with other values.",
    )
    greeting = TextField(
        required=False,
        max_length=2000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What the agent says first. Empty: it waits for the caller.",
    )
    apology = TextField(
        label=AgentConfig.model_fields["apology"].title,
        required=False,
        max_length=500,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What the caller hears when no provider could do its part of a turn. Empty: nothing.",
    )
    pipeline = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Which services work together. Saving copies the steps into this agent.",
    )
    transport = forms.ChoiceField(
        label="Calls come by", widget=UnfoldAdminSelectWidget(), help_text="How callers reach the agent."
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput())
    note = forms.CharField(
        required=False,
        max_length=200,
        label="Note for this version",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "What is new, and why"}),
    )

    class Meta:
        model = Agent
        fields = ["workspace", "slug", "name", "description", "phone_number", "capabilities"]
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}
        help_texts = {
            "slug": "The agent's name in addresses. Small letters, digits and hyphens.",
            "phone_number": "Calls to this number reach the agent. International: +49…",
        }

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.is_new = self.instance.pk is None
        keys = Keys.of(self.environ, self._workspaces(), self._draft())
        self.draft_before = self.instance.draft
        self.document = drafts.first_document(keys.usable) if self.is_new else self._draft()
        self.problems: tuple[Problem, ...] = ()
        self.flows = self._flows()
        self._set_initial()
        posted = self.data if self.is_bound and isinstance(self.data, QueryDict) else None
        self.sections = {
            name: make(drafts.section(self.document, name), data=posted, prefix=name) for name, make in SECTIONS.items()
        }
        self.credentials = ChosenCredentials(self.document, self._workspaces(), posted)
        in_use = drafts.roles(self.chosen_flow().steps)
        self.providers = [ProviderList(role, self.document, keys, role in in_use, posted) for role in Role]

    def _draft(self) -> drafts.Document:
        draft = self.instance.draft
        return draft if isinstance(draft, dict) else {}

    def _flows(self) -> dict[str, Flow]:
        own = Flow("", drafts.flow_name(self.document), "", drafts.flow_steps(self.document))
        workspaces = self._workspaces()
        found = Pipeline.objects.filter(workspace__in=workspaces).select_related("workspace")
        self.rows = list(found.order_by("workspace__name", "name").prefetch_related("steps"))
        have = Counter(row.slug for row in self.rows)
        return (
            {"": own}
            | {f"row:{row.pk}": row.flow() for row in self.rows}
            | {f"ready:{flow.slug}": flow for flow in READY_MADE if not 0 < len(workspaces) == have[flow.slug]}
        )

    def _workspaces(self) -> list[int]:
        """In which the agent is, or may come to be."""
        return list(self.workspaces.values_list("pk", flat=True)) if self.is_new else [self.instance.workspace_id]

    def _set_initial(self) -> None:
        transport = (drafts.chain(self.document, "transport") or ("websocket",))[0]
        self.fields["pipeline"].choices = self._pipeline_choices()  # type: ignore[attr-defined]
        self.fields["transport"].choices = list(({transport: transport} | TRANSPORTS).items())  # type: ignore[attr-defined]
        self.initial["default"] = self.instance.is_default
        for key in TEXTS:
            self.initial[key] = drafts.text(self.document, key)
        self.initial["variables"] = drafts.section(self.document, "variables")
        self.initial["apology"] = drafts.text(self.document, "apology", APOLOGY)
        self.initial["transport"] = transport
        self.initial["seen"] = shown_revision(self.instance)

    def _pipeline_choices(self) -> list[Any]:
        """A pipeline that every workspace has as its own is not offered as a ready-made one, too."""
        groups: dict[str, list[tuple[str, str]]] = {}
        several = len({row.workspace_id for row in self.rows}) > 1
        for row in self.rows:
            title = f"Pipelines of {row.workspace.name}" if several else "Pipelines of the workspace"
            groups.setdefault(title, []).append((f"row:{row.pk}", row.name))
        ready = [(key, flow.name) for key, flow in self.flows.items() if key.startswith("ready:")]
        now = self.flows[""]
        same = next((flow.name for key, flow in self.flows.items() if key and flow.steps == now.steps), now.name)
        own = ("", f"As it is now: {same or 'no steps yet'}")
        return [own, *groups.items(), *([("Ready-made", ready)] if ready else [])]

    # -- what the page shows ---------------------------------------------------------------------------------

    def chosen_flow(self) -> Flow:
        chosen = str(self["pipeline"].value() or "")
        return self.flows.get(chosen, self.flows[""])

    def pictures(self) -> list[PipelineChoice]:
        chosen = self.chosen_flow()
        return [PipelineChoice(key, flow, flow is chosen) for key, flow in self.flows.items()]

    def section_list(self) -> list[tuple[str, OptionForm | ChosenCredentials]]:
        sections = [(TITLES.get(name, name.capitalize()), form) for name, form in self.sections.items()]
        return [*([(TITLE, self.credentials)] if self.credentials.fields else []), *sections]

    def says_more(self) -> bool:
        """Whether these are shown at once."""
        return any(self[name].value() or self[name].errors for name in MORE)

    # -- what was sent ---------------------------------------------------------------------------------------

    def clean_phone_number(self) -> str:
        number: str = self.cleaned_data["phone_number"]
        if number and Agent.objects.exclude(pk=self.instance.pk).filter(phone_number=number).exists():
            raise forms.ValidationError("Another agent has this number.")
        return number

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        workspace = cleaned.get("workspace") or (None if self.is_new else self.instance.workspace)
        same = Agent.objects.filter(workspace=workspace, slug=cleaned.get("slug")).exclude(pk=self.instance.pk)
        if workspace and same.exists():
            self.add_error("slug", "Another agent of the workspace is called so.")
        if not self.is_new and cleaned.get("seen") not in ("", self._revision_now()):
            self.add_error(None, CHANGED_MEANWHILE)
        self._check_pipeline(workspace, str(cleaned.get("pipeline") or ""))
        parts_are_good = self._parts_are_valid()
        if parts_are_good and not self.errors:
            self.document = self._assembled(cleaned)
            self._check_document()
        elif not parts_are_good:
            self._point_below()
        return cleaned

    def _revision_now(self) -> str:
        """Asked in the transaction that saves: nobody changes the row in between."""
        with transaction.atomic():
            return shown_revision(Agent.objects.select_for_update().get(pk=self.instance.pk))

    def changed_columns(self) -> list[str]:
        """The columns that saving writes; what others wrote into the rest stays."""
        columns = [name for name in self.changed_data if name in AgentForm.Meta.fields]
        return columns if self.instance.draft == self.draft_before else [*columns, "draft"]

    def _parts_are_valid(self) -> bool:
        """All are asked, so that everything that is wrong is said at once."""
        sections = [form.is_valid() for form in (*self.sections.values(), self.credentials)]
        return all([*sections, *(part.is_valid() for part in self.providers)])

    def _check_pipeline(self, workspace: Workspace | None, choice: str) -> None:
        kind, _, key = choice.partition(":")
        if kind == "row" and workspace and not workspace.pipelines.filter(pk=key).exists():
            self.add_error("pipeline", f"This pipeline belongs to another workspace than {workspace}.")

    def _assembled(self, cleaned: Mapping[str, Any]) -> drafts.Document:
        document = self.document
        for key in TEXTS:
            document = drafts.with_text(document, key, cleaned[key])
        document = drafts.with_section(document, "variables", cleaned["variables"])
        document = drafts.with_text(document, "apology", cleaned["apology"], APOLOGY)
        if cleaned["pipeline"]:
            flow = self.chosen_flow()
            document = drafts.with_flow(document, flow.slug, flow.steps)
        for part in self.providers:
            document = part.written_into(document)
        document = drafts.with_transport(document, cleaned["transport"])
        for name, form in self.sections.items():
            document = drafts.with_section(document, name, form.options())
        return self.credentials.written_into(document)

    def _check_document(self) -> None:
        try:
            check_document(self.document)
        except ConfigError as error:
            for problem in error.problems:
                self._place(problem)
        else:
            self.instance.draft = self.document

    def _place(self, problem: Problem) -> None:
        """Say it where it can be put right; what no field can is said at the top, with the way to it."""
        head, *rest = re.split(r"[.\[]", problem.path.replace("]", ""))
        sentence = problem.message[:1].upper() + problem.message[1:] + "."
        if head in (*TEXTS, "apology"):
            self.add_error(head, sentence)
        elif head == "variables":
            self.add_error(head, f"{rest[0]}: {sentence}" if rest else sentence)
        elif head == "pipeline":
            self.add_error(head, f"{problem}.")
        elif (head, *rest[:1]) == ("connectors", "transport"):
            self.add_error("transport", sentence)
        elif self._place_below(head, rest, sentence):
            self._point_below()
        else:
            self.add_error(None, f"{problem}. There is no field for this here: see “Whole document”.")

    def _place_below(self, head: str, rest: Sequence[str], sentence: str) -> bool:
        """Whether a form below has the place for it, and shows it."""
        if head == "credentials" and rest and rest[0] in self.credentials.fields:
            self.credentials.add_error(rest[0], sentence)
            return True
        if head in self.sections and rest and rest[0] in self.sections[head].fields:
            self.sections[head].add_error(rest[0], sentence)
            return True
        shown = [part for part in self.providers if part.is_used and [head, part.role] == ["connectors", *rest[:1]]]
        for part in shown:
            part.place(rest[1:], sentence)
        return bool(shown)

    def _point_below(self) -> None:
        pointer = "Some options below need another look."
        if pointer not in self.non_field_errors():
            self.add_error(None, pointer)


def shown_revision(agent: Agent) -> str:
    """Another one as soon as anything that the form shows is another."""
    return revision({name: getattr(agent, name) for name in SHOWN})


def arrows_of(flow: Flow) -> list[Arrow]:
    return [Arrow(step["from"], step["to"], step["stream"]) for step in flow.steps]


def picture_of(flow: Flow) -> Picture:
    return draw(arrows_of(flow))
