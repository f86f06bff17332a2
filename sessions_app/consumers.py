"""The live end of a session's page."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.template.loader import render_to_string

from accounts_app.models import User
from mesh.subjects import SESSION_ID
from sessions_app.models import Look, Session, TranscriptEntry, fingerprint
from sessions_app.nudges import Nudge, group

MAY_CHANGE = 30
"""So many of the latest entries are looked at again at each nudge: a sentence goes on while it is spoken."""

Looks = dict[int, Look]


class SessionConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Shows at each nudge what is new and what has changed.

    A socket that comes back after an outage finds a page of which it knows nothing. So at first it shows the whole
    transcript in place of what the page has, unless this is what the page was made with (`?shown=`).
    """

    looks: Looks
    """The latest entries as they were sent, by their ids."""

    async def connect(self) -> None:
        self.session_id: str = self.scope["url_route"]["kwargs"]["session_id"]
        if not SESSION_ID.fullmatch(self.session_id):
            await self.close()
            return
        await self.channel_layer.group_add(group(self.session_id), self.channel_name)
        query = parse_qs(self.scope["query_string"].decode(errors="replace"))
        news = await database_sync_to_async(render_page)(self.user, self.session_id, query.get("shown", [""])[0])
        if news is None:
            await self.close()
            return
        await self.accept()
        await self.show(news)

    async def disconnect(self, code: int) -> None:
        if SESSION_ID.fullmatch(self.session_id):
            await self.channel_layer.group_discard(group(self.session_id), self.channel_name)

    async def session_nudge(self, nudge: Nudge) -> None:
        news = await database_sync_to_async(render_news)(self.user, self.session_id, self.looks)
        if news is None:
            await self.close()
        else:
            await self.show(news)

    async def show(self, news: "News") -> None:
        self.looks = dict(list(news.looks.items())[-MAY_CHANGE:])
        await self.send(news.html)

    @property
    def user(self) -> User:
        user: User = self.scope["user"]
        return user


@dataclass(frozen=True, slots=True)
class News:
    html: str
    looks: Looks


def render_page(user: User, session_id: str, shown: str) -> News | None:
    """All of the session; its transcript only when the page does not show just that. None when it is not theirs."""
    session = _session_for(user, session_id)
    if session is None:
        return None
    entries = list(session.transcript.all())
    changes = Changes() if shown == fingerprint(entries) else Changes(swap="innerHTML", new=entries)
    return News(_render(session, changes), {entry.id: entry.look for entry in entries})


def render_news(user: User, session_id: str, looks: Looks) -> News | None:
    """The session's state, and its entries that are not there yet or look different; None when it is not theirs."""
    session = _session_for(user, session_id)
    if session is None:
        return None
    entries = list(session.transcript.after(min(looks, default=1) - 1))
    new = [entry for entry in entries if entry.id not in looks]
    changed = [entry for entry in entries if entry.id in looks and looks[entry.id] != entry.look]
    html = _render(session, Changes(swap="beforeend" if new else "", new=new, changed=changed))
    return News(html, {entry.id: entry.look for entry in entries})


@dataclass(frozen=True, slots=True)
class Changes:
    """Of a transcript: `swap` says where the new entries go; nowhere when it is empty."""

    swap: str = ""
    new: list[TranscriptEntry] = field(default_factory=list)
    changed: list[TranscriptEntry] = field(default_factory=list)


def _session_for(user: User, session_id: str) -> Session | None:
    sessions = Session.objects.for_user(user).select_related("agent_version__agent")
    return sessions.filter(id=session_id).first()


def _render(session: Session, changes: Changes) -> str:
    context = {"session": session, "incidents": session.latest_incidents(), "changes": changes, "live": True}
    return render_to_string("sessions_app/_news.html", context)
