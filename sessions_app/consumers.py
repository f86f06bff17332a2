"""The live end of a session's page."""

import asyncio
import logging
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error

from mesh.store import StoreUnavailable, Valkey
from mesh.subjects import SESSION_ID
from sessions_app import rendering
from sessions_app.nudges import Nudge, group
from sessions_app.rendering import News
from sessions_app.scene import Phase, Scene
from sessions_app.scene_store import SceneStore
from sessions_app.watching import SIGNED_OUT, is_signed_in

log = logging.getLogger(__name__)

LOOK_EVERY = 3.0
"""Seconds after which a page looks by itself, so that lost nudges heal."""


class SessionConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Shows the whole session at first, then at each nudge what is new and what has changed.

    A socket that comes back after an outage finds a page of which it knows nothing. So at first it shows everything in
    place of what the page has, unless this is what the page was made with (`?shown=`).
    """

    looking: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        self.session_id: str = self.scope["url_route"]["kwargs"]["session_id"]
        if not SESSION_ID.fullmatch(self.session_id):
            await self.close()
            return
        self.turn_taking, self.scene_html = asyncio.Lock(), ""
        await self.channel_layer.group_add(group(self.session_id), self.channel_name)
        shown = parse_qs(self.scope["query_string"].decode(errors="replace")).get("shown", [""])[0]
        scene = await self.kept_scene()  # before the rows: what is newer comes as a nudge
        news = await database_sync_to_async(rendering.render_page)(self.scope["user"], self.session_id, shown)
        if news is None:
            await self.close()
            return
        await self.accept()
        await self.show(news, scene)
        self.looking = asyncio.create_task(self.look_now_and_then())

    async def disconnect(self, code: int) -> None:
        if self.looking:
            self.looking.cancel()
        if SESSION_ID.fullmatch(self.session_id):
            await self.channel_layer.group_discard(group(self.session_id), self.channel_name)

    async def session_nudge(self, nudge: Nudge) -> None:
        scene = msgspec.convert(nudge.get("scene", {}), Scene)
        async with self.turn_taking:
            if nudge.get("sequence", scene.sequence or self.page.sequence) != self.page.sequence:
                await self.refresh(scene)
            else:
                await self.show_scene(scene)

    session_scene = session_nudge

    async def look_now_and_then(self) -> None:
        while not self.page.is_over:
            await asyncio.sleep(LOOK_EVERY)
            async with self.turn_taking:
                await self.refresh(await self.kept_scene(), check=True)

    async def refresh(self, scene: Scene | None, *, check: bool = False) -> None:
        """A look that the database refuses is left out: the next one shows what this one would have."""
        try:
            if check and not await is_signed_in(self.scope):
                await self.close(SIGNED_OUT)
                return
            news = await database_sync_to_async(rendering.render_news)(self.scope["user"], self.session_id, self.page)
        except Error as error:
            log.warning("the page of session %s could not be brought up to date: %s", self.session_id, error)
            return
        if news is None:
            await self.close()
        else:
            await self.show(news, scene, moved=news.page.sequence != self.page.sequence)

    async def show(self, news: News, scene: Scene | None, *, moved: bool = True) -> None:
        """Words of a scene that is older than the rows may stand in them: these it shows only where they stood."""
        self.page, self.session = news.page, news.session
        if news.html:
            await self.send(news.html)
        if news.page.is_over:
            await self.show_scene(Scene(phase=Phase.OVER))
        elif scene and scene.goes_with(news.page.sequence):
            await self.show_scene(scene)
        elif moved:
            await self.show_scene(Scene(phase=scene.phase if scene else Phase.WAITING))

    async def show_scene(self, scene: Scene) -> None:
        html = rendering.render_scene(scene, self.session)
        if html != self.scene_html:
            self.scene_html = html
            await self.send(html)

    async def kept_scene(self) -> Scene | None:
        valkey = Valkey(settings.VALKEY_URL)  # which is asked too seldom to hold a connection for each page
        try:
            return await SceneStore(valkey).get(self.session_id)
        except StoreUnavailable:
            return None
        finally:
            await valkey.close()
