"""Pipelines in the admin: ordered steps, checked in plain words, with their picture."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts_app.models import Right
from accounts_app.scoping import WORKSPACE_FILTER, TabularRows, WithinWorkspaces
from mesh.config.problems import ConfigError, Problem
from pipelines_app.actions import check_steps, replace_steps
from pipelines_app.drawing import describe
from pipelines_app.flows import READY_MADE, FlowStep, ready_made
from pipelines_app.forms import arrows_of, picture_of
from pipelines_app.models import Agent, Pipeline, PipelineStep


class PipelineForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Pipeline
        fields = ["workspace", "name", "slug", "description"]
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}
        help_texts = {"slug": "Its name in documents. Small letters, digits and hyphens."}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        workspace = cleaned.get("workspace") or getattr(self.instance, "workspace", None)
        same = Pipeline.objects.filter(workspace=workspace, slug=cleaned.get("slug")).exclude(pk=self.instance.pk)
        if workspace and same.exists():
            self.add_error("slug", "Another pipeline of the workspace is called so.")
        return cleaned


class NewPipelineForm(PipelineForm):
    start_from = forms.ChoiceField(
        choices=[(flow.slug, f"{flow.name}: {flow.description}") for flow in READY_MADE],
        widget=UnfoldAdminSelectWidget(),
        help_text="Its steps are copied. You can change them next.",
    )


class StepFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The rules that need all the steps: what is wrong is said in its row."""

    def clean(self) -> None:
        super().clean()
        rows = [form for form in self.forms if form.has_changed() or form.instance.pk]
        rows = [form for form in rows if not self._should_delete_form(form)]  # type: ignore[attr-defined]
        if any(form.errors for form in rows):
            return
        rows = self._in_order(rows)
        try:
            check_steps([_step(form.cleaned_data) for form in rows])
        except ConfigError as error:
            for problem in error.problems:
                self._place(problem, rows)

    def _in_order(self, rows: list[Any]) -> list[Any]:
        """The steps that were there as they were dragged; new ones follow as they were added."""
        old = sorted((form for form in rows if form.instance.pk), key=lambda form: form.cleaned_data["position"] or 0)
        new = [form for form in rows if not form.instance.pk]
        last = max((form.cleaned_data["position"] or 0 for form in old), default=0)
        for number, form in enumerate(new, start=last + 1):
            form.instance.position = number
        return [*old, *new]

    def _place(self, problem: Problem, rows: list[Any]) -> None:
        found = re.match(r"pipeline\.flow\[(\d+)\]", problem.path)
        message = re.sub(r"repeats step (\d+)", lambda step: f"repeats step {int(step[1]) + 1}", problem.message)
        if found is None:
            raise forms.ValidationError(f"A pipeline {message}.")
        rows[int(found[1])].add_error(None, f"This step {message}.")


def _step(values: dict[str, Any]) -> FlowStep:
    return {"from": values["source"], "to": values["target"], "stream": values["stream"]}


class StepInline(TabularRows):
    model = PipelineStep
    formset = StepFormSet
    fields = ["source", "target", "stream", "position"]
    verbose_name_plural = "Steps"
    ordering_field = "position"
    hide_ordering_field = True
    hide_title = True
    extra = 0


@admin.register(Pipeline)
class PipelineAdmin(WithinWorkspaces):
    change_right = Right.BUILD
    form = PipelineForm
    inlines = [StepInline]
    list_display = ["name", "slug", "workspace", "steps_in_words", "updated_at"]
    list_filter = [WORKSPACE_FILTER]
    search_fields = ["name", "slug", "description"]
    list_select_related = ["workspace"]

    class Media:
        css = {"all": ["pipelines_app/admin.css"]}
        js = ["pipelines_app/unsaved.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pipeline]:
        return super().get_queryset(request).prefetch_related("steps")

    @admin.display(description="steps")
    def steps_in_words(self, pipeline: Pipeline) -> str:
        return describe(arrows_of(pipeline.flow()))

    def get_inlines(self, request: HttpRequest, obj: Pipeline | None) -> list[Any]:
        return [StepInline] if obj else []

    def get_readonly_fields(self, request: HttpRequest, obj: Pipeline | None = None) -> list[str]:
        return ["workspace"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Pipeline | None = None) -> list[Any]:
        names = ["workspace", "name", "slug", "description"]
        return names if obj else [*names, "start_from"]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Pipeline | None = None) -> dict[str, Sequence[str]]:
        return {} if obj else {"slug": ("name",)}

    def get_form(self, request: HttpRequest, obj: Pipeline | None = None, change: bool = False, **settings: Any) -> Any:
        return super().get_form(request, obj, change=change, form=PipelineForm if obj else NewPipelineForm, **settings)

    def save_model(self, request: HttpRequest, obj: Pipeline, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        flow = ready_made(form.cleaned_data.get("start_from", ""))
        if not change and flow:
            replace_steps(pipeline=obj, steps=flow.steps)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for warning in check_steps(Pipeline.objects.get(pk=form.instance.pk).flow().steps):
            messages.warning(request, f"Looks like a mistake: {_without_path(warning)}.")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **settings: Any) -> HttpResponse:
        pipeline = settings.get("obj")
        if pipeline is not None:
            with_it = Agent.objects.for_workspace(pipeline.workspace).filter(draft__pipeline__name=pipeline.slug)
            context |= {"picture": picture_of(pipeline.flow()), "agents": with_it}
        return super().render_change_form(request, context, *args, **settings)


def _without_path(problem: Problem) -> str:
    found = re.match(r"pipeline\.flow\[(\d+)\]", problem.path)
    return f"step {int(found[1]) + 1}: {problem.message}" if found else problem.message
