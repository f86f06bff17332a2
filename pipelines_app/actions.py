"""What happens to agents: edit, publish, roll back, find the one that answers, import and export."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts_app.actions import ensure_default_workspace
from accounts_app.models import DEFAULT_WORKSPACE, User, Workspace
from connectors_app import registry
from mesh.config.document import SERVICES, AgentConfig
from mesh.config.json_text import fingerprint, load_json, revision
from mesh.config.problems import ConfigError, Problem
from mesh.config.reading import parse
from mesh.config.rules import warnings
from pipelines_app.chosen_credentials import credential_problems
from pipelines_app.flows import READY_MADE, FlowStep
from pipelines_app.models import Agent, AgentVersion, Pipeline, PipelineStep

DEMO_AGENT = "demo"
DEMO_DOCUMENT = "config/demo-agent.json"
DEMO_PURPOSE = "Books an appointment. Works offline, by a fixed script: no AI."
ASSISTANT_AGENT = "assistant"
ASSISTANT_DOCUMENT = "config/assistant-agent.json"
ASSISTANT_PURPOSE = "Talks about anything, with OpenAI's models."


class NeverPublished(LookupError):
    """The agent has no such version."""


class ChangedMeanwhile(Exception):
    """The draft is not the one that was looked at."""


class DraftWouldBeLost(Exception):
    """No version says what the draft says, and it was about to be replaced."""


def check_document(document: object, workspace: int | None = None) -> AgentConfig:
    """Raises ConfigError with every problem of the document, its providers' options included.

    With a workspace: whether it has the credentials that the document names, too.
    """
    parsed = parse(document)
    connectors = {service: entry.model_dump() for service, entry in parsed.connectors.items()}
    problems = [*registry.check_connectors(connectors), *registry.check_credentials(parsed.credentials)]
    if workspace is not None:
        problems += credential_problems(parsed.credentials, workspace)
    if problems:
        raise ConfigError(Problem(problem.path, problem.message) for problem in problems)
    return parsed


def check_steps(steps: Sequence[FlowStep]) -> tuple[Problem, ...]:
    """What looks like a mistake in a flow. Raises ConfigError for what no agent could run."""
    services = {service: {"primary": "any"} for service in SERVICES}
    flow = {"name": "pipeline", "flow": [dict(step) for step in steps]}
    return warnings(parse({"system_prompt": "", "pipeline": flow, "connectors": services}))


# -- edit ------------------------------------------------------------------------------------------------


def save_agent(*, agent: Agent, changed: Collection[str] = (), default: bool | None = None) -> None:
    """Keep the fields that were changed, and what others wrote into the rest meanwhile; a new agent is kept whole.

    Only one agent of a workspace answers calls that name none; `default` None leaves it at who does.
    """
    with transaction.atomic():
        if default:
            others = Agent.objects.for_workspace(agent.workspace).exclude(pk=agent.pk)
            others.filter(is_default=True).update(is_default=False)
        if default is not None:
            agent.is_default = default
        if agent._state.adding:
            agent.save()
            return
        fields = {*changed, "updated_at"} | ({"is_default"} if default is not None else set())
        agent.save(update_fields=fields)
        lock_agent(agent)


def lock_agent(agent: Agent) -> None:
    """Read the row again, and let nobody else write it before the transaction ends."""
    agent.refresh_from_db(from_queryset=Agent.objects.select_for_update())


def keeps_draft(*, agent: Agent) -> bool:
    """Whether some version says what the draft says, so that nothing is lost when the draft is replaced."""
    return agent.versions.filter(sha256=fingerprint(agent.draft)).exists()


def restore_version(*, agent: Agent, number: int, lost: str | None = "") -> None:
    """Make the draft what this version says; nothing is published.

    `lost` is the revision of a draft that may be lost although no version keeps it; None: whichever it is.
    Raises NeverPublished and DraftWouldBeLost.
    """
    old = find_version(agent=agent, number=number)
    with transaction.atomic():
        lock_agent(agent)
        if lost not in (None, revision(agent.draft)) and not keeps_draft(agent=agent):
            raise DraftWouldBeLost
        agent.draft = old.config
        agent.save(update_fields=["draft", "updated_at"])


def find_version(*, agent: Agent, number: int) -> AgentVersion:
    """Raises NeverPublished."""
    version = agent.versions.filter(number=number).first()
    if version is None:
        raise NeverPublished(f"{agent.slug} has no version {number}")
    return version


# -- publish ---------------------------------------------------------------------------------------------


def publish_agent(*, agent: Agent, by: User | None = None, note: str = "", seen: str = "") -> AgentVersion:
    """Make the draft what new sessions run; the current version when that has the same content.

    `seen` is the revision of the draft that was looked at. Raises ConfigError, and ChangedMeanwhile.
    """
    with transaction.atomic():
        lock_agent(agent)
        if seen not in ("", revision(agent.draft)):
            raise ChangedMeanwhile
        return _publish(agent=agent, document=agent.draft, by=by, note=note)


def roll_back_agent(*, agent: Agent, number: int, by: User | None = None) -> AgentVersion:
    """Publish the content of an older version again, under a new number; the draft stays as it is.

    Raises NeverPublished, and ConfigError when that content is no longer valid here.
    """
    old = find_version(agent=agent, number=number)
    return _publish(agent=agent, document=old.config, by=by, note=f"Back to version {number}")


def withdraw_agent(*, agent: Agent) -> None:
    """No new session runs it any more, until it is published again; those that run go on."""
    agent.published = None
    agent.save(update_fields=["published", "updated_at"])


def _publish(*, agent: Agent, document: object, by: User | None, note: str) -> AgentVersion:
    check_document(document, agent.workspace_id)
    content = fingerprint(document)
    with transaction.atomic():
        Agent.objects.select_for_update().get(pk=agent.pk)  # one publishes at a time
        version = agent.versions.order_by("-number").first()
        if version is None or version.sha256 != content:
            version = AgentVersion.objects.create(
                agent=agent,
                number=version.number + 1 if version else 1,
                config=document,
                sha256=content,
                revision=revision(document),
                published_by=by,
                note=note,
            )
            version.is_new = True
        agent.published = version
        agent.save(update_fields=["published", "updated_at"])
    return version


# -- who answers -----------------------------------------------------------------------------------------


def resolve_agent(*, workspace_slug: str | None = None, slug: str = "", number: str = "") -> AgentVersion | None:
    """The published version that answers: of the named agent, else of the number's, else of the workspace's default.

    A name that is not there is None: no other agent answers in its place. Without a workspace a number is looked for
    everywhere, a name and the default in the default workspace.
    """
    published = AgentVersion.objects.filter(current_of__isnull=False).select_related("agent__workspace")
    here = published.filter(agent__workspace__slug=workspace_slug or DEFAULT_WORKSPACE)
    if slug:
        return here.filter(agent__slug=slug).first()
    if number:
        numbered = (here if workspace_slug else published).filter(agent__phone_number=number).first()
        if numbered is not None:
            return numbered
    return here.filter(agent__is_default=True).first()


# -- import and export -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """What an import may say about the agent besides its document; None leaves it as it is."""

    name: str | None = None
    number: str | None = None
    default: bool = False


UNCHANGED = Identity()


def import_agent(
    *,
    workspace: Workspace,
    slug: str,
    document: object,
    publish: bool,
    identity: Identity = UNCHANGED,
    by: User | None = None,
    note: str = "",
) -> Agent:
    """Create the agent or replace its draft.

    Raises ConfigError, and Django's ValidationError for a bad slug, name or number. Nothing is kept then.
    """
    check_document(document)
    with transaction.atomic():
        agents = Agent.objects.for_workspace(workspace).select_for_update()
        agent = agents.filter(slug=slug).first() or Agent(workspace=workspace, slug=slug)
        agent.draft = document
        agent.name = identity.name if identity.name is not None else agent.name or slug
        agent.phone_number = identity.number if identity.number is not None else agent.phone_number
        if identity.default:
            agents.filter(is_default=True).update(is_default=False)
            agent.is_default = True
        agent.full_clean()
        agent.save()
        if publish:
            publish_agent(agent=agent, by=by, note=note)
    return agent


def export_agent(*, agent: Agent, number: int | None = None) -> dict[str, Any]:
    """The document of a version, or of the published one, or of the draft while nothing is published.

    Raises NeverPublished when there is no version of that number.
    """
    if number is None:
        document: dict[str, Any] = agent.published.config if agent.published else agent.draft
        return document
    document = find_version(agent=agent, number=number).config
    return document


# -- pipelines -------------------------------------------------------------------------------------------


def replace_steps(*, pipeline: Pipeline, steps: Sequence[FlowStep]) -> None:
    """In this order, instead of those that were there."""
    with transaction.atomic():
        pipeline.steps.all().delete()
        PipelineStep.objects.bulk_create(
            PipelineStep(
                pipeline=pipeline, position=number, source=step["from"], target=step["to"], stream=step["stream"]
            )
            for number, step in enumerate(steps, start=1)
        )


def ensure_pipelines(*, workspace: Workspace) -> bool:
    """The ready-made pipelines as rows. False when the workspace has pipelines already, whichever they are."""
    if Pipeline.objects.for_workspace(workspace).exists():
        return False
    with transaction.atomic():
        for flow in READY_MADE:
            pipeline = Pipeline.objects.create(
                workspace=workspace, slug=flow.slug, name=flow.name, description=flow.description
            )
            replace_steps(pipeline=pipeline, steps=flow.steps)
    return True


# -- first start -----------------------------------------------------------------------------------------


def ensure_demo_agent() -> bool:
    """The agent that can be called without any key. False when it is already there, however it was changed."""
    return _ensure_agent(
        slug=DEMO_AGENT, name="Demo", description=DEMO_PURPOSE, file=DEMO_DOCUMENT, may_be_default=True
    )


def ensure_assistant_agent() -> bool:
    """The agent that needs an OpenAI key and nothing else. False when it is already there."""
    return _ensure_agent(
        slug=ASSISTANT_AGENT,
        name="Assistant",
        description=ASSISTANT_PURPOSE,
        file=ASSISTANT_DOCUMENT,
        may_be_default=False,
    )


def _ensure_agent(*, slug: str, name: str, description: str, file: str, may_be_default: bool) -> bool:
    workspace = ensure_default_workspace()
    agents = Agent.objects.for_workspace(workspace)
    if agents.filter(slug=slug).exists():
        return False
    document = load_json(Path(settings.BASE_DIR, file).read_bytes())
    identity = Identity(name=name, default=may_be_default and not agents.filter(is_default=True).exists())
    with transaction.atomic():
        agent = import_agent(workspace=workspace, slug=slug, document=document, publish=True, identity=identity)
        agent.description = description
        agent.save(update_fields=["description"])
    return True
