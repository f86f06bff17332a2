"""The API of a workspace's pipelines."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts_app.describing import operation
from accounts_app.models import Right
from pipelines_app import actions, examples
from pipelines_app.api import IN_WORKSPACE, WORKSPACE, Slugged, taken
from pipelines_app.models import Pipeline
from pipelines_app.serializers import NewPipeline, PipelineAnswer, PipelineChange


@extend_schema(tags=["pipelines"])
class PipelineView(ListModelMixin, RetrieveModelMixin, Slugged):
    """Steps under a name, for many agents. An agent's document holds a copy."""

    queryset = Pipeline.objects.select_related("workspace").prefetch_related("steps")
    serializer_class = PipelineAnswer
    rights = dict.fromkeys(("partial_update", "destroy"), Right.BUILD)

    @operation(
        "List pipelines",
        "By slug.",
        answers={200: PipelineAnswer(many=True)},
        parameters=[IN_WORKSPACE],
        errors=(422,),
        answer=examples.PIPELINE,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @operation(
        "A pipeline",
        "Its steps in their order, as an agent's document takes them.",
        answers={200: PipelineAnswer},
        parameters=[WORKSPACE],
        errors=(400, 404),
        answer=examples.PIPELINE,
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    @operation(
        "Create a pipeline",
        "Agents do not change by it: a document holds a copy of the steps.",
        body=NewPipeline,
        bodies={"Text chat": examples.NEW_PIPELINE},
        answers={201: PipelineAnswer},
        errors=(409,),
        answer=examples.PIPELINE,
    )
    def create(self, request: Request) -> Response:
        asked = taken(NewPipeline, request.data)
        workspace = self.access.choose(Right.BUILD, asked.pop("workspace", ""))
        steps = asked.pop("steps")
        self.refuse_taken(workspace, asked["slug"])
        pipeline = Pipeline(workspace=workspace, **{"name": asked["slug"]} | asked)
        pipeline.full_clean()
        with transaction.atomic():
            pipeline.save()
            actions.replace_steps(pipeline=pipeline, steps=steps)
        return Response(PipelineAnswer(pipeline).data, status=201)

    @operation(
        "Change a pipeline",
        "Only what is given; `steps` replaces all steps. Documents that hold a copy stay as they are.",
        body=PipelineChange,
        bodies={"Another name": {"name": "Chat"}},
        answers={200: PipelineAnswer},
        parameters=[WORKSPACE],
        errors=(404,),
        answer=examples.PIPELINE,
    )
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        pipeline = self.get_object()
        asked = taken(PipelineChange, request.data)
        steps = asked.pop("steps", None)
        for name, value in asked.items():
            setattr(pipeline, name, value)
        pipeline.full_clean()
        with transaction.atomic():
            pipeline.save()
            if steps is not None:
                actions.replace_steps(pipeline=pipeline, steps=steps)
        return Response(PipelineAnswer(self.get_object()).data)

    @operation(
        "Delete a pipeline",
        "Agents keep their copies of it.",
        answers={204: None},
        parameters=[WORKSPACE],
        errors=(400, 403, 404),
    )
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.get_object().delete()
        return Response(status=204)
