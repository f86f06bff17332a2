"""Which sessions a list shows: live or all, of an agent, with some words, a page of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from accounts_app.models import User
from sessions_app.models import Session

ON_A_PAGE = 50
LAST_PAGE = 10_000
LONGEST = 128


@dataclass(frozen=True, slots=True)
class Choice:
    live: bool = False
    agent: str = ""
    words: str = ""
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """What makes no sense is not chosen."""
        agent, words = (query.get(name, "").replace("\x00", "").strip()[:LONGEST] for name in ("agent", "q"))
        return cls(live=query.get("state") == "live", agent=agent, words=words, page=_page(query.get("page", "")))

    def rows(self, user: User | AnonymousUser) -> tuple[list[Session], bool]:
        """No page counts all rows: one row more than is shown tells whether there are older ones."""
        sessions = Session.objects.for_user(user).select_related("agent_version__agent", "workspace")
        if self.live:
            sessions = sessions.live()
        if self.agent:
            sessions = sessions.filter(agent_version__agent__slug=self.agent)
        if self.words:
            named = Q(id__startswith=self.words) | Q(name__icontains=self.words) | Q(caller__icontains=self.words)
            sessions = sessions.filter(named)
        rows = list(sessions[(self.page - 1) * ON_A_PAGE : self.page * ON_A_PAGE + 1])
        return rows[:ON_A_PAGE], len(rows) > ON_A_PAGE and self.page < LAST_PAGE

    @property
    def query(self) -> str:
        """The same choice as a query string."""
        chosen = {"state": "live" if self.live else "", "agent": self.agent, "q": self.words}
        page = {"page": str(self.page)} if self.page > 1 else {}
        return urlencode({name: value for name, value in chosen.items() if value} | page)

    @property
    def newer(self) -> str:
        return replace(self, page=self.page - 1).query

    @property
    def older(self) -> str:
        return replace(self, page=self.page + 1).query

    @property
    def is_narrow(self) -> bool:
        return bool(self.live or self.agent or self.words)


def _page(text: str) -> int:
    """The first one for whatever is no page number."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1
    return min(max(number, 1), LAST_PAGE)
