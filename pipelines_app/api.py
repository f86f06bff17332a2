"""The API of agents and their versions."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from accounts_app.access import Ambiguous, Owned
from accounts_app.describing import operation
from accounts_app.models import Right, User, Workspace
from accounts_app.paging import Cursors
from pipelines_app import actions, examples
from pipelines_app.comparing import MISSING, Difference, compare
from pipelines_app.models import Agent, AgentVersion
from pipelines_app.serializers import (
    AgentAnswer,
    AgentChange,
    AgentDocument,
    Comparing,
    ComparisonAnswer,
    NewAgent,
    PublishedAnswer,
    Publishing,
    RestoredAnswer,
    Restoring,
    VersionAnswer,
    Which,
)

WORKSPACE = OpenApiParameter(
    "workspace", str, description="A workspace's slug. Needed where several workspaces of yours have this slug."
)
IN_WORKSPACE = OpenApiParameter("workspace", str, description="Only those of this workspace.")


def taken(form: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    """What a request says. Raises ValidationError."""
    asked = form(data=data)
    asked.is_valid(raise_exception=True)
    found: dict[str, Any] = asked.validated_data
    return found


def person(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) else None


class Slugged(Owned):
    """Rows that are named by a slug in their workspace."""

    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9-]{1,64}"
    order = ("slug", "id")
    pagination_class = Cursors

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if workspace := self.request.query_params.get("workspace"):
            slugs = [slug for slug in self.access.workspaces if slug == workspace]
            return rows.filter(workspace__slug__in=slugs)
        return rows

    def get_object(self) -> Any:
        found = list(self.get_queryset().filter(slug=self.kwargs["slug"])[:2])
        if len(found) > 1:
            raise Ambiguous([slug for slug in self.access.workspaces])
        return super().get_object()

    def refuse_taken(self, workspace: Workspace, slug: str) -> None:
        """Raises ValidationError."""
        rows: Any = type(self).queryset
        if rows.for_workspace(workspace).filter(slug=slug).exists():
            raise ValidationError({"slug": [f"{slug!r} is taken in this workspace"]})


# -- agents ----------------------------------------------------------------------------------------------


@extend_schema(tags=["agents"])
class AgentView(ListModelMixin, RetrieveModelMixin, Slugged):
    queryset = Agent.objects.select_related("workspace", "published")
    serializer_class = AgentAnswer
    rights = dict.fromkeys(("partial_update", "publish", "withdraw", "put_document"), Right.BUILD)

    @operation(
        "List agents",
        "By slug.",
        answers={200: AgentAnswer(many=True)},
        parameters=[IN_WORKSPACE],
        errors=(422,),
        answer=examples.AGENT,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @operation(
        "An agent",
        "With its draft: the configuration document that will be published next.",
        answers={200: AgentAnswer},
        parameters=[WORKSPACE],
        errors=(400, 404),
        answer=examples.AGENT,
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    @operation(
        "Create an agent",
        "Its draft must be a valid configuration document; every problem is named by its path, such as "
        "`draft.connectors.llm.primary`. With `publish` it answers sessions at once.",
        body=NewAgent,
        bodies={"An agent that needs no key": examples.NEW_AGENT},
        answers={201: AgentAnswer},
        errors=(409,),
        answer=examples.AGENT,
    )
    def create(self, request: Request) -> Response:
        asked = taken(NewAgent, request.data)
        workspace = self.access.choose(Right.BUILD, asked.pop("workspace", ""))
        default, publish = asked.pop("is_default", False), asked.pop("publish", False)
        self.refuse_taken(workspace, asked["slug"])
        agent = Agent(workspace=workspace, **{"name": asked["slug"]} | asked)
        agent.full_clean()
        with transaction.atomic():
            actions.save_agent(agent=agent, default=default)
            if publish:
                actions.publish_agent(agent=agent, by=person(request))
        return Response(AgentAnswer(agent).data, status=201)

    @operation(
        "Change an agent",
        "Only what is given. Sessions go on with the published version until you publish.",
        body=AgentChange,
        bodies={"Another greeting for whoever reads the list": {"description": "Books tables."}},
        answers={200: AgentAnswer},
        parameters=[WORKSPACE],
        errors=(404,),
        answer=examples.AGENT,
    )
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        asked = taken(AgentChange, request.data)
        default = asked.pop("is_default", None)
        for name, value in asked.items():
            setattr(agent, name, value)
        agent.full_clean()
        actions.save_agent(agent=agent, changed=asked, default=default)
        return Response(AgentAnswer(agent).data)

    @operation(
        "Publish an agent",
        "Makes its draft the version that new sessions run. Without a change since the last version, that one is "
        "answered and none is added. `warnings` names what lacks a key.",
        body=Publishing,
        bodies={"With a note": {"note": "Asks for the phone number first"}},
        answers={200: PublishedAnswer},
        parameters=[WORKSPACE],
        errors=(404,),
        answer=examples.PUBLISHED,
    )
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        note = taken(Publishing, request.data).get("note", "")
        return Response(PublishedAnswer(actions.publish_agent(agent=agent, by=person(request), note=note)).data)

    @operation(
        "Take an agent out of service",
        "It answers no new sessions and calls until a version is published again; those that run go on to their end. "
        "Its draft and its versions stay. An agent that is out of service already is answered as it is.",
        answers={200: AgentAnswer},
        parameters=[WORKSPACE],
        errors=(400, 403, 404),
        answer=examples.AGENT | {"published": None},
    )
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        actions.withdraw_agent(agent=agent)
        return Response(AgentAnswer(agent).data)

    @operation(
        "Export an agent's document",
        "The configuration document alone, as `PUT` takes it, here or in another installation. Without `version` the "
        "published one, or the draft while nothing is published.",
        answers={200: AgentDocument},
        parameters=[WORKSPACE, Which],
        errors=(400, 404, 422),
        answer=examples.DOCUMENT,
        operation_id="agents_document_export",
    )
    @action(detail=True, url_path="document")
    def document(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        which = taken(Which, {key: value for key, value in request.query_params.items() if key == "version"})
        version = which.get("version")
        if version == "draft":
            return Response(agent.draft)
        return Response(actions.export_agent(agent=agent, number=version))

    @operation(
        "Import an agent's document",
        "Replaces the draft. Nothing is published.",
        body=AgentDocument,
        bodies={"A document": examples.DOCUMENT},
        answers={200: AgentAnswer},
        parameters=[WORKSPACE],
        errors=(404,),
        answer=examples.AGENT,
        operation_id="agents_document_import",
    )
    @document.mapping.put
    def put_document(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        actions.check_document(request.data)
        agent.draft = request.data
        agent.save(update_fields=["draft", "updated_at"])
        return Response(AgentAnswer(agent).data)

    @operation(
        "Compare versions",
        "What differs between two versions' documents, path by path. `old` and `new` are a number or `draft`; without "
        "them the published version is compared with the draft.",
        answers={200: ComparisonAnswer},
        parameters=[WORKSPACE, Comparing],
        errors=(400, 404, 422),
        answer=examples.COMPARISON,
    )
    @action(detail=True)
    def compare(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        agent = self.get_object()
        query = {key: value for key, value in request.query_params.items() if key in ("old", "new")}
        asked = taken(Comparing, query)
        old = asked.get("old", agent.published.number if agent.published else "draft")
        new = asked.get("new", "draft")
        differences = compare(_document(agent, old), _document(agent, new))
        return Response({"old": str(old), "new": str(new), "differences": [_told(each) for each in differences]})


def _told(difference: Difference) -> dict[str, Any]:
    sides: dict[str, Any] = {"old": difference.old, "new": difference.new}
    return {"path": difference.path} | {name: value for name, value in sides.items() if value is not MISSING}


def _document(agent: Agent, which: int | str) -> Any:
    return agent.draft if which == "draft" else actions.find_version(agent=agent, number=int(which)).config


# -- versions --------------------------------------------------------------------------------------------


AGENT = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The agent's slug.")


@extend_schema(tags=["agents"], parameters=[AGENT])
class VersionView(ListModelMixin, RetrieveModelMixin, Owned):
    """Written once: they are published, and never changed."""

    queryset = AgentVersion.objects.select_related("agent__workspace", "published_by")
    serializer_class = VersionAnswer
    pagination_class = Cursors
    order = ("-number",)
    lookup_field = "number"
    lookup_value_regex = "[0-9]{1,9}"
    workspace_of = "agent.workspace"
    rights = dict.fromkeys(("restore", "roll_back"), Right.BUILD)

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return rows.filter(agent=self._agent())

    def _agent(self) -> Agent:
        """The agent of the address, by the rules of its own addresses."""
        agents = AgentView(request=self.request, kwargs={"slug": self.kwargs["slug"]}, action="retrieve")
        found: Agent = agents.get_object()
        return found

    @operation(
        "List an agent's versions",
        "The latest first.",
        answers={200: VersionAnswer(many=True)},
        parameters=[WORKSPACE],
        errors=(400, 404, 422),
        answer=examples.VERSION,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @operation(
        "A version",
        "What sessions of this number run.",
        answers={200: VersionAnswer},
        parameters=[WORKSPACE],
        errors=(400, 404),
        answer=examples.VERSION,
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    @operation(
        "Restore a version as the draft",
        "The draft becomes what this version says. Nothing is published: sessions go on with `published`. A draft "
        "that no version keeps is lost by it: that is refused with 409, unless `overwrite_draft` is true.",
        body=Restoring,
        bodies={"Whatever the draft says": {"overwrite_draft": True}},
        answers={200: RestoredAnswer},
        parameters=[WORKSPACE],
        errors=(404, 409),
        answer=examples.RESTORED,
    )
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        version = self.get_object()
        lost = None if taken(Restoring, request.data)["overwrite_draft"] else ""
        actions.restore_version(agent=version.agent, number=version.number, lost=lost)
        return Response(RestoredAnswer(version.agent, context={"restored": version.number}).data)

    @operation(
        "Roll back to a version",
        "Publishes what this version says under a new number, so that the numbers tell the whole history. The draft "
        "stays as it is. `warnings` names what lacks a key.",
        answers={200: PublishedAnswer},
        parameters=[WORKSPACE],
        errors=(400, 403, 404, 422),
        answer=examples.PUBLISHED | {"number": 4, "note": "Back to version 3"},
    )
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        old = self.get_object()
        version = actions.roll_back_agent(agent=old.agent, number=old.number, by=person(request))
        return Response(PublishedAnswer(version).data)
