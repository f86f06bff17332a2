"""Which rows of sessions are forgotten, and when: by their workspace's retention."""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from random import shuffle

from django.db import transaction

from accounts_app.models import Workspace
from sessions_app.models import Session, SessionQuerySet

BATCH = 100
"""Sessions in one transaction: on SQLite everybody who writes waits for it."""
LONGEST = 20.0
"""Seconds for one run; the next one goes on."""


def delete_past_retention(
    *, now: datetime, batch: int = BATCH, longest: float = LONGEST, clock: Callable[[], float] = time.monotonic
) -> int:
    """Delete the sessions that their workspaces need not keep any longer, and count them.

    Usage stays, without its session: bills are made of it.
    """
    deleted, begun = 0, clock()
    waiting = deque(Workspace.objects.exclude(retention_days=None))
    shuffle(waiting)  # else a run that is cut short begins with the same ones again
    while waiting:
        workspace = waiting.popleft()
        if gone := _delete_batch(workspace, now - _kept_for(workspace), batch):
            deleted += gone
            waiting.append(workspace)  # its next batch is after the others' first
        if clock() - begun > longest:
            break
    return deleted


def _kept_for(workspace: Workspace) -> timedelta:
    return timedelta(days=workspace.retention_days or 0)


def _due(workspace: Workspace, before: datetime) -> SessionQuerySet:
    return Session.objects.for_workspace(workspace).forgettable(ended_before=before)


def _delete_batch(workspace: Workspace, before: datetime, size: int) -> int:
    with transaction.atomic():
        due = _due(workspace, before).order_by("ended_at")
        chosen = list(due.values_list("id", flat=True)[:size])
        return Session.objects.filter(id__in=chosen).delete()[1].get(Session._meta.label, 0)
