"""The live end of a session's page."""

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.template.loader import render_to_string

from accounts_app.models import User
from mesh.subjects import SESSION_ID
from sessions_app.models import Session
from sessions_app.nudges import Nudge, group


class SessionConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Shows the whole transcript at first, in place of what the page has, and then what is missing at each nudge.

    The whole, because a socket that comes back after an outage finds a page of which it knows nothing.
    """

    shown = 0
    """The id of the last entry that was sent."""

    async def connect(self) -> None:
        self.session_id: str = self.scope["url_route"]["kwargs"]["session_id"]
        if not SESSION_ID.fullmatch(self.session_id):
            await self.close()
            return
        await self.channel_layer.group_add(group(self.session_id), self.channel_name)
        if not await self.show("innerHTML", first=True):
            await self.close()

    async def disconnect(self, code: int) -> None:
        if SESSION_ID.fullmatch(self.session_id):
            await self.channel_layer.group_discard(group(self.session_id), self.channel_name)

    async def session_nudge(self, nudge: Nudge) -> None:
        if not await self.show("beforeend"):
            await self.close()

    async def show(self, swap: str, *, first: bool = False) -> bool:
        """False when there is no such session for this user, or no longer."""
        news = await database_sync_to_async(render_news)(self.scope["user"], self.session_id, self.shown, swap)
        if news is None:
            return False
        if first:
            await self.accept()
        html, self.shown = news
        await self.send(html)
        return True


def render_news(user: User, session_id: str, shown: int, swap: str) -> tuple[str, int] | None:
    """The session's state and the entries after `shown`, and the id of the last one."""
    sessions = Session.objects.for_user(user).select_related("agent_version__agent")
    session = sessions.filter(id=session_id).first()
    if session is None:
        return None
    entries = list(session.transcript.after(shown))
    html = render_to_string("sessions_app/_news.html", {"session": session, "entries": entries, "swap": swap})
    return html, entries[-1].id if entries else shown
