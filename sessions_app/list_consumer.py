"""The live end of the list of sessions."""

import asyncio
import logging
from urllib.parse import parse_qsl

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error
from django.template.loader import render_to_string

from accounts_app.models import User, Workspace
from sessions_app.choice import Choice
from sessions_app.nudges import WorkspaceNudge, workspace_group
from sessions_app.watching import SIGNED_OUT, is_signed_in

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks, however much happens."""
LOOK_EVERY = 5.0
"""Seconds after which the list looks by itself, so that lost nudges heal."""

Rows = dict[str, str]
"""The list's rows by their sessions, as they look."""


class SessionListConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Shows the page's own choice again when something of its workspaces has changed: rows, or the whole list."""

    looking: asyncio.Task[None] | None = None
    rows: Rows | None = None

    async def connect(self) -> None:
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close()
            return
        self.stirred = asyncio.Event()
        self.choice = Choice.read(dict(parse_qsl(self.scope["query_string"].decode(errors="replace"))))
        self.workspaces = [workspace.pk async for workspace in Workspace.objects.for_user(user)]
        for workspace in self.workspaces:
            await self.channel_layer.group_add(workspace_group(workspace), self.channel_name)
        await self.accept()
        self.looking = asyncio.create_task(self.look_again_and_again())

    async def disconnect(self, code: int) -> None:
        if self.looking:
            self.looking.cancel()
            for workspace in self.workspaces:
                await self.channel_layer.group_discard(workspace_group(workspace), self.channel_name)

    async def workspace_nudge(self, nudge: WorkspaceNudge) -> None:
        self.stirred.set()

    async def look_again_and_again(self) -> None:
        while True:
            self.stirred.clear()
            try:
                if not await is_signed_in(self.scope):
                    await self.close(SIGNED_OUT)
                    return
                await self.look()
            except Error as error:
                log.warning("a list of sessions could not be brought up to date: %s", error)
            await asyncio.sleep(EVERY)
            await wait_at_most(self.stirred, LOOK_EVERY)

    async def look(self) -> None:
        rows = await database_sync_to_async(render_rows)(self.scope["user"], self.choice)
        if html := changes(self.rows, rows):
            await self.send(html)
        self.rows = rows


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def render_rows(user: User, choice: Choice) -> Rows:
    sessions, _ = choice.rows(user)
    return {session.id: render_to_string("sessions_app/_row.html", {"session": session}) for session in sessions}


def changes(before: Rows | None, now: Rows) -> str:
    """The rows that look different, when they are those that were there; else, and at first, the whole list."""
    if before is None or list(before) != list(now):
        return f'<tbody hx-swap-oob="innerHTML:#sessions">{"".join(now.values())}</tbody>'
    return "".join(row.replace("<tr ", '<tr hx-swap-oob="true" ', 1) for key, row in now.items() if before[key] != row)
