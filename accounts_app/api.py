"""The API about oneself: who am I, and the keys of the workspaces that I manage."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts_app.access import Access, Owned
from accounts_app.actions import create_api_key
from accounts_app.bodies import Line, Strict
from accounts_app.describing import operation
from accounts_app.models import APIKey, Right, User
from accounts_app.paging import Cursors

# -- who am I --------------------------------------------------------------------------------------------


class ReachableWorkspace(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    rights = serializers.ListField(child=serializers.ChoiceField([right.value for right in Right]))


class Me(serializers.Serializer[Any]):
    user = serializers.CharField(allow_null=True, help_text="The user name; null for an API key.")
    key = serializers.CharField(allow_null=True, help_text="The name of the API key; null for a person.")
    workspaces = ReachableWorkspace(many=True)


@extend_schema(tags=["account"])
class MeView(ViewSet):
    @operation(
        "Who am I",
        "Whose credentials these are, and what they may do: `view` (see everything of the workspace), `run` (start, "
        "end and speak into sessions), `build` (agents and pipelines), `manage` (credentials, keys, members). "
        "An API key belongs to one workspace and may do all but `manage`.",
        answers={200: Me},
        answer={
            "user": None,
            "key": "Booking site",
            "workspaces": [{"slug": "default", "name": "Default", "rights": ["view", "run", "build"]}],
        },
        operation_id="me",
    )
    def retrieve(self, request: Request) -> Response:
        access = Access.of(request)
        workspaces = [
            {"slug": slug, "name": workspace.name, "rights": [right.value for right in Right if right in rights]}
            for (slug, workspace), rights in zip(access.workspaces.items(), access.rights.values(), strict=True)
        ]
        key = request.auth.name if isinstance(request.auth, APIKey) else None
        user = request.user.username if isinstance(request.user, User) else None
        return Response({"user": user, "key": key, "workspaces": workspaces})


# -- API keys --------------------------------------------------------------------------------------------


class KeyAnswer(serializers.ModelSerializer[APIKey]):
    workspace = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)

    class Meta:
        model = APIKey
        fields = ["id", "workspace", "name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at"]
        read_only_fields = fields


class DrawnKey(KeyAnswer):
    secret = serializers.CharField(read_only=True, help_text="The key's text. It is shown here and never again.")

    class Meta(KeyAnswer.Meta):
        fields = [*KeyAnswer.Meta.fields, "secret"]
        read_only_fields = fields


class NewKey(Strict):
    name = Line(max_length=120, help_text="What the key is for.")
    workspace = Line(max_length=64, required=False, help_text="Its slug; not needed by who has one only.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Left out: it does not expire.")


KEY = {
    "id": 7,
    "workspace": "default",
    "name": "Booking site",
    "prefix": "k3v9x0aq",
    "created_at": "2026-11-20T10:00:00Z",
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
}


@extend_schema(tags=["account"])
class APIKeyView(ListModelMixin, RetrieveModelMixin, Owned):
    """For people who manage the workspace: no key draws another one."""

    queryset = APIKey.objects.select_related("workspace")
    serializer_class = KeyAnswer
    pagination_class = Cursors
    order = ("-id",)
    rights = {"retrieve": Right.MANAGE, "destroy": Right.MANAGE}
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> Any:
        """Only of workspaces that one manages."""
        rows = super().get_queryset()
        if self.action != "list" or getattr(self, "swagger_fake_view", False):
            return rows
        managed = [slug for slug, rights in self.access.rights.items() if Right.MANAGE in rights]
        if not managed:
            self.permission_denied(self.request, "API keys are for people who manage the workspace.")
        return rows.filter(workspace__slug__in=managed)

    @operation(
        "List API keys",
        "Those of the workspaces that you manage, the latest first, revoked and expired ones too. Not for API keys.",
        answers={200: KeyAnswer(many=True)},
        errors=(403, 422),
        answer=KEY,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @operation("An API key", "All but its text.", answers={200: KeyAnswer}, errors=(403, 404), answer=KEY)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    @operation(
        "Draw an API key",
        "The answer holds its text, which is kept nowhere: store it now.",
        body=NewKey,
        bodies={"A key for a program": {"name": "Booking site"}},
        answers={201: DrawnKey},
        answer=KEY | {"secret": "mag_k3v9x0aq_3q2-7w…"},
    )
    def create(self, request: Request) -> Response:
        form = NewKey(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        workspace = self.access.choose(Right.MANAGE, asked.get("workspace", ""))
        by = request.user if isinstance(request.user, User) else None
        key, secret = create_api_key(workspace=workspace, name=asked["name"], by=by, expires_at=asked.get("expires_at"))
        return Response({**KeyAnswer(key).data, "secret": secret}, status=201)

    @operation(
        "Revoke an API key",
        "At once and for good. Revoking it again changes nothing.",
        answers={204: None},
        errors=(403, 404),
    )
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.get_object().revoke()
        return Response(status=204)
