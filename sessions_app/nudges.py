"""Tells the live pages what goes on: "session X is at sequence n", and its scene; rows are theirs to read."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NotRequired, TypedDict

import msgspec
from channels.layers import BaseChannelLayer
from redis.exceptions import RedisError

from mesh.store import StoreUnavailable
from sessions_app.scene import Scene, Scenes
from sessions_app.scene_store import SceneStore

DEADLINE = 1.0
EVERY = 0.15
"""Seconds between two rounds: what changes in between goes together."""


class Nudge(TypedDict):
    """`session.nudge`: rows up to `sequence` are there. `session.scene`: only the scene is another one."""

    type: str
    sequence: NotRequired[int]
    scene: NotRequired[dict[str, Any]]


class WorkspaceNudge(TypedDict):
    type: str
    sessions: list[str]


def group(session: str) -> str:
    """The Channels group of everybody who looks at a session."""
    return f"session.{session}"


def workspace_group(workspace: int) -> str:
    """That of everybody who looks at the list of a workspace's sessions."""
    return f"workspace.{workspace}"


class Nudges:
    """A newer nudge replaces an older one of its session, so what waits is bounded by the sessions that change.

    While Valkey is away nudges are lost and counted; pages look by themselves now and then.
    """

    def __init__(self, layer: BaseChannelLayer, scenes: Scenes | None = None, store: SceneStore | None = None) -> None:
        self._layer = layer
        self._scenes = Scenes() if scenes is None else scenes
        self._store = store
        self._waiting: dict[str, int] = {}
        self._workspaces: dict[int, set[str]] = {}
        self._stirred = asyncio.Event()
        self.sent = 0
        self.lost = 0

    def add(self, sequences: Mapping[str, int], workspaces: Mapping[str, int] | None = None) -> None:
        """Rows are there: up to which sequence, and whose they are."""
        self._waiting |= sequences
        for session, workspace in (workspaces or {}).items():
            self._workspaces.setdefault(workspace, set()).add(session)
        self.stir()

    def stir(self) -> None:
        """Something may have changed."""
        if self._waiting or self._scenes.has_changes:
            self._stirred.set()

    async def run(self) -> None:
        while True:
            await self._stirred.wait()
            await self.send_waiting()
            await asyncio.sleep(EVERY)

    async def send_waiting(self) -> None:
        self._stirred.clear()
        waiting, self._waiting = self._waiting, {}
        workspaces, self._workspaces = self._workspaces, {}
        scenes = self._scenes.take_changed(time.monotonic())
        await self._keep(scenes)  # first: who comes later than the message finds it there
        for session in waiting | scenes:
            await self._send(group(session), _nudge(waiting.get(session), scenes.get(session)))
        for workspace, sessions in workspaces.items():
            nudge = WorkspaceNudge(type="workspace.nudge", sessions=sorted(sessions))
            await self._send(workspace_group(workspace), nudge)

    async def _keep(self, scenes: Mapping[str, Scene]) -> None:
        if self._store and scenes:
            with suppress(StoreUnavailable):
                await self._store.put(scenes)

    async def _send(self, name: str, nudge: Nudge | WorkspaceNudge) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._layer.group_send(name, nudge)
            self.sent += 1
        except (RedisError, OSError):
            self.lost += 1


def _nudge(sequence: int | None, scene: Scene | None) -> Nudge:
    nudge = Nudge(type="session.scene" if sequence is None else "session.nudge")
    if sequence is not None:
        nudge["sequence"] = sequence
    if scene is not None:
        nudge["scene"] = msgspec.to_builtins(scene)
    return nudge
