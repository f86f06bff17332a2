"""Which rows the one who asks the API may see, and in which workspaces they may do more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from accounts_app.models import APIKey, Membership, Right, Workspace, roles_with

KEY_RIGHTS = frozenset({Right.VIEW, Right.RUN, Right.BUILD})
"""Keys and credentials are for people: a key that leaks draws no other one."""


class Ambiguous(APIException):
    """Several workspaces could be meant."""

    status_code = 400
    default_code = "ambiguous"

    def __init__(self, slugs: list[str]) -> None:
        message = f"is needed: you belong to several workspaces ({', '.join(slugs)})"
        super().__init__({"workspace": [message]})


@dataclass(frozen=True, slots=True)
class Access:
    """The workspaces of the one who asks, by slug, and what they may do in each."""

    workspaces: Mapping[str, Workspace]
    rights: Mapping[str, frozenset[Right]]

    @classmethod
    def of(cls, request: Request) -> "Access":
        if isinstance(request.auth, APIKey):
            workspace = request.auth.workspace
            return cls({workspace.slug: workspace}, {workspace.slug: KEY_RIGHTS})
        found = Membership.objects.filter(user=request.user.pk).select_related("workspace").order_by("workspace__slug")
        members = list(found)
        rights = {
            member.workspace.slug: frozenset(right for right in Right if member.role in roles_with(right))
            for member in members
        }
        return cls({member.workspace.slug: member.workspace for member in members}, rights)

    def require(self, right: Right, slug: str) -> Workspace:
        """Raises PermissionDenied, and ValidationError for a workspace that is not theirs."""
        if slug not in self.workspaces:
            raise ValidationError({"workspace": [f"there is no workspace {slug!r} of yours"]})
        if right not in self.rights[slug]:
            raise PermissionDenied(f"You may not {right} in the workspace {slug!r}.")
        return self.workspaces[slug]

    def choose(self, right: Right, slug: str = "") -> Workspace:
        """The named workspace, or the only one. Raises Ambiguous, as well as what `require` does."""
        if slug:
            return self.require(right, slug)
        if not self.workspaces:
            raise PermissionDenied("You belong to no workspace.")
        if len(self.workspaces) > 1:
            raise Ambiguous(list(self.workspaces))
        return self.require(right, next(iter(self.workspaces)))


class Owned(GenericViewSet[Any]):
    """Rows of workspaces. `rights` says what an action needs besides seeing the row; strangers' rows are not there."""

    rights: ClassVar[Mapping[str, Right]] = {}
    workspace_of: ClassVar[str] = "workspace"
    """The way from a row to its workspace."""

    @property
    def access(self) -> Access:
        """Asked once for each request."""
        if not hasattr(self, "_access"):
            self._access = Access.of(self.request)
        return self._access

    def get_queryset(self) -> Any:
        rows: Any = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        if isinstance(self.request.auth, APIKey):
            return rows.for_workspace(self.request.auth.workspace)
        return rows.for_user(self.request.user)

    def get_object(self) -> Any:
        row = super().get_object()
        self.require_for(row)
        return row

    def require_for(self, row: Any) -> None:
        if self.action in self.rights:
            workspace = row
            for step in self.workspace_of.split("."):
                workspace = getattr(workspace, step)
            self.access.require(self.rights[self.action], workspace.slug)
