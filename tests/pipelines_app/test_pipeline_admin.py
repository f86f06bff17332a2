from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import User, Workspace
from pipelines_app.actions import ensure_pipelines, replace_steps
from pipelines_app.flows import READY_MADE, VOICE_LOOP, FlowStep, step
from pipelines_app.models import Agent, Pipeline
from tests.pipelines_app.agent_forms import as_staff, save
from tests.world import signed_in

LIST = "admin:pipelines_app_pipeline_changelist"


@pytest.fixture
def pipeline(workspace: Workspace) -> Pipeline:
    made = Pipeline.objects.create(workspace=workspace, slug="talk", name="Talk")
    replace_steps(pipeline=made, steps=VOICE_LOOP.steps)
    return made


def address(pipeline: Pipeline) -> str:
    return reverse("admin:pipelines_app_pipeline_change", args=[pipeline.pk])


def send(client: Client, pipeline: Pipeline, steps: list[FlowStep]) -> Any:
    """The form with these steps in place of those that are there."""
    old = list(pipeline.steps.all())
    form: dict[str, Any] = {"name": pipeline.name, "slug": pipeline.slug}
    form |= {"steps-TOTAL_FORMS": len(old) + len(steps), "steps-INITIAL_FORMS": len(old)}
    for number, row in enumerate(old):
        form |= row_of(number, row.as_document()) | {f"steps-{number}-id": row.pk, f"steps-{number}-DELETE": "on"}
    for number, new in enumerate(steps, start=len(old)):
        form |= row_of(number, new)
    return client.post(address(pipeline), form | {"_continue": ""}, follow=True)


def row_of(number: int, given: FlowStep) -> dict[str, Any]:
    values = {"source": given["from"], "target": given["to"], "stream": given["stream"], "position": number}
    return {f"steps-{number}-{name}": value for name, value in values.items()}


def test_ready_made_pipelines_are_made_once(workspace: Workspace) -> None:
    assert ensure_pipelines(workspace=workspace)
    assert not ensure_pipelines(workspace=workspace)
    flows = {row.slug: row.flow() for row in Pipeline.objects.for_workspace(workspace)}
    assert flows == {flow.slug: flow for flow in READY_MADE}


def test_a_new_pipeline_starts_from_a_ready_made(owner: User, workspace: Workspace) -> None:
    form = {"workspace": workspace.pk, "name": "Chat", "slug": "chat", "start_from": "text-chat", "_continue": ""}
    page = as_staff(owner).post(reverse("admin:pipelines_app_pipeline_add"), form, follow=True)
    assert [str(row) for row in Pipeline.objects.get().steps.all()] == ["transport to llm", "llm to transport"]
    assert "<svg" in page.content.decode()


def test_steps_are_kept_in_their_order(owner: User, pipeline: Pipeline) -> None:
    steps = [step("transport", "tts"), step("tts", "transport")]
    send(as_staff(owner), pipeline, steps)
    assert list(Pipeline.objects.get().flow().steps) == steps


def test_a_new_step_comes_last(owner: User, pipeline: Pipeline) -> None:
    """The page does not show the number of a step: that of a new one says nothing."""
    rows = list(pipeline.steps.all())
    form = {"name": "Talk", "slug": "talk", "steps-TOTAL_FORMS": len(rows) + 1, "steps-INITIAL_FORMS": len(rows)}
    for number, row in enumerate(rows):
        form |= row_of(number, row.as_document()) | {f"steps-{number}-id": row.pk}
    form |= row_of(len(rows), step("stt", "transport")) | {f"steps-{len(rows)}-position": 0}
    as_staff(owner).post(address(pipeline), form)
    assert Pipeline.objects.get().flow().steps == (*VOICE_LOOP.steps, step("stt", "transport"))


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step("stt", "stt")], "A step joins two services: choose different ones."),
        ([step("transport", "stt"), step("transport", "stt")], "This step repeats step 1; each step may stand once."),
        ([], "A pipeline must have at least one step."),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(
    owner: User, pipeline: Pipeline, steps: list[FlowStep], told: str
) -> None:
    page = send(as_staff(owner), pipeline, steps).content.decode()
    assert told in page
    assert Pipeline.objects.get().flow().steps == VOICE_LOOP.steps


def test_what_looks_like_a_mistake_is_told(owner: User, pipeline: Pipeline) -> None:
    page = send(as_staff(owner), pipeline, [step("transport", "stt"), step("stt", "llm")]).content.decode()
    assert "no step leads to transport: the caller gets nothing back" in page
    assert Pipeline.objects.get().steps.count() == 2


def test_a_workspace_has_a_slug_once(owner: User, workspace: Workspace, pipeline: Pipeline) -> None:
    form = {"workspace": workspace.pk, "name": "Talk too", "slug": "talk", "start_from": "text-chat"}
    page = as_staff(owner).post(reverse("admin:pipelines_app_pipeline_add"), form)
    assert "Another pipeline of the workspace is called so." in page.content.decode()


def test_viewers_only_look(teammate: User, pipeline: Pipeline) -> None:
    client = as_staff(teammate)
    assert client.get(address(pipeline)).status_code == 200
    assert send(client, pipeline, [step("transport", "stt")]).status_code == 403
    assert client.get(reverse("admin:pipelines_app_pipeline_add")).status_code == 403


def test_strangers_and_the_signed_out_see_none(stranger: User, pipeline: Pipeline) -> None:
    client = as_staff(stranger)
    assert "Talk" not in client.get(reverse(LIST)).content.decode()
    assert client.get(address(pipeline)).status_code in (302, 404)
    assert Client().get(address(pipeline)).status_code == 302


def test_the_list_does_not_grow_in_queries(
    operator: User, workspace: Workspace, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    ensure_pipelines(workspace=workspace)
    client = signed_in(operator)
    with django_assert_max_num_queries(9):
        page = client.get(reverse(LIST)).content.decode()
    assert "Caller to Thinking (text); Thinking to Caller (text)." in page


def test_an_agent_takes_a_copy(owner: User, agent: Agent, pipeline: Pipeline) -> None:
    replace_steps(pipeline=pipeline, steps=[step("transport", "llm"), step("llm", "transport")])
    client = as_staff(owner)
    save(client, agent, pipeline=f"row:{pipeline.pk}")
    assert agent.draft["pipeline"] == {"name": "talk", "flow": list(pipeline.flow().steps)}
    assert agent.name in client.get(address(pipeline)).content.decode()


def test_an_agent_takes_no_other_workspaces_pipeline(owner: User, agent: Agent, other_workspace: Workspace) -> None:
    other = Pipeline.objects.create(workspace=other_workspace, slug="talk", name="Talk")
    page = save(as_staff(owner), agent, pipeline=f"row:{other.pk}")
    assert "pipeline" in page.context["adminform"].form.errors
