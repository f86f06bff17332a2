"""What a caller needs to join a session that was started on a page. It is kept until its one look, then it is gone."""

import time
from collections.abc import Mapping
from typing import Any, Self

from django.contrib.sessions.backends.base import SessionBase
from pydantic import BaseModel, ConfigDict

KEPT = "invitations"


class Invitation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    room: str
    token: str
    expires_in: int
    until: float
    is_meeting: bool = False
    """In a room that people enter with a browser, not at a socket of ours."""
    call: str = ""
    """The address of the agent's call page, if it is an agent's session."""
    notices: tuple[str, ...] = ()

    @classmethod
    def make(cls, *, expires_in: int, **its: Any) -> Self:
        return cls(expires_in=expires_in, until=time.time() + expires_in, **its)

    @property
    def address(self) -> str:
        """The room with its token: what people open."""
        return f"{self.room}?t={self.token}"


def keep(sign_in: SessionBase, session: str, invitation: Invitation) -> None:
    """With those that nobody has looked at yet, as long as they open something."""
    now = time.time()
    kept: Mapping[str, dict[str, Any]] = sign_in.get(KEPT, {})
    sign_in[KEPT] = {one: it for one, it in kept.items() if it["until"] > now} | {session: invitation.model_dump()}


def take(sign_in: SessionBase, session: str) -> Invitation | None:
    kept = dict(sign_in.get(KEPT, {}))
    taken = kept.pop(session, None)
    if taken is None:
        return None
    sign_in[KEPT] = kept
    return Invitation.model_validate(taken)
