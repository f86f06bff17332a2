"""The ordered providers of one role in the agent's form: each with the form of its own options."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.http import QueryDict
from pydantic import JsonValue

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.option_forms import OptionForm, option_form
from pipelines_app import drafts
from pipelines_app.chosen_credentials import credential_warnings, failed_tests, kept_by, serving

TITLES = {
    Role.STT: ("Hearing", "Turns what the caller says into text."),
    Role.LLM: ("Thinking", "Finds the answer."),
    Role.TTS: ("Speaking", "Says the answer."),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """What there is to use providers with: the settings of the installation, and the workspace's own credentials."""

    environ: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    """By the credential's slug."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """By the credential's slug: which one failed its last test, and how."""

    @classmethod
    def of(
        cls, environ: Mapping[str, str], workspaces: Collection[int], document: Mapping[str, Any] | None = None
    ) -> "Keys":
        """What can be used in every one of these workspaces by calls that run this document."""
        kept = kept_by(workspaces).values()
        found = [serving(document or {}, its) for its in kept]
        failed = {slug: said for its in kept for slug, said in failed_tests(document or {}, its).items()}
        return cls(environ, frozenset.intersection(*found) if found else frozenset(), failed)

    def missing(self, role: Role) -> dict[str, tuple[str, ...]]:
        """The providers that cannot be used yet, with the names of the settings that each still needs."""
        missing = registry.missing(role, self.environ)
        return {slug: names for slug, names in missing.items() if registry.credential_of(slug) not in self.own}

    def usable(self, role: Role) -> tuple[str, ...]:
        wrong = {slug for slug in registry.wrong(role, self.environ) if registry.credential_of(slug) not in self.own}
        return tuple(slug for slug in registry.names(role) if slug not in {*self.missing(role), *wrong})


def call_warnings(document: drafts.Document, workspace: int) -> list[str]:
    """What calls that run this document lack or may fail of, for who publishes, restores or rolls back to it."""
    keys = Keys.of(os.environ, [workspace], document)
    used = drafts.roles(drafts.flow_steps(document))
    lacking = [warning for role in used if (warning := _setup_warning(role, drafts.chain(document, role), keys))]
    lacking += credential_warnings(document, workspace)
    return lacking + (_model_warnings(document) if Role.LLM in used else [])


def _model_warnings(document: drafts.Document) -> list[str]:
    """Of models that are ended, and of answers that are longer than their model's can be."""
    title, found = TITLES[Role.LLM][0], []
    for slug in drafts.chain(document, Role.LLM):
        for problem in registry.model_problems(slug, drafts.options(document, Role.LLM, slug)):
            found.append(f"{title}: {registry.get(Role.LLM, slug).label}: {problem}")
    return found


def _setup_warning(role: Role, chain: Sequence[str], keys: Keys) -> str:
    without = [registry.get(role, slug).label for slug in chain if slug in keys.missing(role)]
    if not set(chain) & set(keys.usable(role)):
        return f"No provider for {TITLES[role][0]} is set up: calls will fail."
    return f"{TITLES[role][0]}: {' and '.join(without)} will be passed over: not set up yet." if without else ""


@cache
def form_of(role: Role, slug: str) -> type[OptionForm]:
    return option_form(registry.get(role, slug).Options)


@dataclass(slots=True)
class Card:
    """One provider. Without a form it is not known here, and what the document says of it stays as it is."""

    slug: str
    label: str
    needs: str
    """The names of the settings that are not there yet; empty when it can be used."""
    is_chosen: bool
    form: OptionForm | None
    stored: dict[str, JsonValue]
    lacks_key: bool = False
    """Of what it needs, one is a key."""
    failed: str = ""
    """Which credential failed its last test, and how."""
    error: str = ""

    @property
    def credential(self) -> str:
        """The slug of the credential that it goes by."""
        return registry.credential_of(self.slug)

    @property
    def badge(self) -> str:
        if self.needs:
            return "no key yet" if self.lacks_key else "not set up yet"
        return "last test failed" if self.failed else ""

    @property
    def set_options(self) -> list[tuple[str, JsonValue]]:
        """What the document says of its options, in the form's words."""
        fields = self.form.fields if self.form else {}
        return [(str(fields[key].label) if key in fields else key, value) for key, value in self.stored.items()]


class ProviderList:
    """The first is asked first, the others in their order when it fails. Cards of those not chosen follow."""

    def __init__(
        self,
        role: Role,
        document: drafts.Document,
        keys: "Keys",
        is_used: bool,
        posted: QueryDict | None,
    ) -> None:
        self.role = role
        self.title, self.help = TITLES[role]
        self.is_used = is_used
        self.document = document
        self.is_posted = posted is not None and f"{role}-shown" in posted
        order = posted.getlist(f"{role}-order") if posted and self.is_posted else drafts.chain(document, role)
        self.order = tuple(dict.fromkeys(order))
        self.error = ""
        missing = keys.missing(role)
        self.cards = [
            self._card(slug, missing.get(slug, ()), keys.failed.get(registry.credential_of(slug), ""), posted)
            for slug in dict.fromkeys((*self.order, *_by_label(role)))
        ]

    def _card(self, slug: str, needs: Sequence[str], failed: str, posted: QueryDict | None) -> Card:
        is_chosen = slug in self.order
        stored = drafts.options(self.document, self.role, slug)
        if slug not in registry.names(self.role):
            return Card(slug, f"{slug} (not known here)", "", is_chosen, None, stored)
        data = posted if self.is_posted and is_chosen else None
        form = form_of(self.role, slug)(stored, data=data, prefix=f"{self.role}-{slug}")
        connector = registry.get(self.role, slug)
        lacks_key = connector.key_setting in needs
        return Card(slug, connector.label, ", ".join(needs), is_chosen, form, stored, lacks_key, failed)

    @property
    def chosen(self) -> list[Card]:
        return [card for card in self.cards if card.is_chosen]

    @property
    def others(self) -> list[Card]:
        return [card for card in self.cards if not card.is_chosen]

    def is_valid(self) -> bool:
        if self.is_used and not self.order:
            self.error = "Choose at least one provider."
        if not self.is_posted:
            return not self.error
        return all([card.form.is_valid() for card in self.chosen if card.form]) and not self.error

    def written_into(self, document: drafts.Document) -> drafts.Document:
        """What was not shown, or is not used and empty, stays as it was."""
        if not self.is_posted or not self.order:
            return document
        options: dict[str, dict[str, JsonValue]] = {card.slug: card.form.options() for card in self.chosen if card.form}
        return drafts.with_chain(document, self.role, self.order, options)

    def place(self, path: Sequence[str], message: str) -> None:
        """`path` is what follows the role: `config`, the provider and the option, or the option of the primary."""
        for card in self.chosen if path[:1] == ["config"] else ():
            option = path[2:3] if path[1:2] == [card.slug] else path[1:2] if card.slug == self.order[0] else []
            if card.form and card.form.is_bound and option and option[0] in card.form.fields:
                card.form.add_error(option[0], message)
                return
            if path[1:2] == [card.slug]:
                card.error = message
                return
        self.error = f"{'.'.join(path)}: {message}" if path[:1] == ["config"] else message


def _by_label(role: Role) -> list[str]:
    return sorted(registry.names(role), key=lambda slug: registry.get(role, slug).label.casefold())
