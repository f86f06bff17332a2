"""One workspace, and a stream of events as its four stages would have stored them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from accounts_app.models import Workspace
from mesh import events
from mesh.events import Event, Stored
from mesh.subjects import Stage, canonical
from sessions_app.fold import Folded, fold
from sessions_app.models import BridgeCursor, Session

START = 1_790_000_000.0


def created(workspace: str = "bicycles", **values: object) -> events.SessionCreated:
    return events.SessionCreated(
        **{"workspace": workspace, "config": {}, "revision": "r1", "transport": "websocket", **values}
    )


@dataclass
class Story:
    """A session's events in order; ids and sequences count by themselves."""

    session: str = "s1"
    sequence: int = 0
    told: list[Stored] = field(default_factory=list)

    def tell(self, *happened: Event, stage: Stage = Stage.SESSION, epoch: int = 1) -> list[Stored]:
        """Store some more, and return them."""
        return [self._store(event, stage, epoch) for event in happened]

    def _store(self, event: Event, stage: Stage, epoch: int) -> Stored:
        self.sequence += 1
        stored = Stored(
            sequence=self.sequence,
            subject=canonical(stage, self.session),
            id=events.event_id(self.session, stage, epoch, self.sequence),
            session=self.session,
            stage=stage,
            epoch=epoch,
            at=START + self.sequence,
            type=event.type(),
            event=event,
        )
        self.told.append(stored)
        return stored


@pytest.fixture
def cursor(db: None) -> BridgeCursor:
    return BridgeCursor.at("EVENTS", created="today")


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def session(workspace: Workspace) -> Session:
    """One that waits for its caller."""
    moment = datetime.fromtimestamp(START, UTC)
    return Session.objects.create(id="s1", workspace=workspace, transport="websocket", created_at=moment)


@pytest.fixture
def write(cursor: BridgeCursor) -> Callable[[list[Stored]], Folded]:
    """Fold events as the bridge does."""
    return lambda batch: fold(batch, cursor)
