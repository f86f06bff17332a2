"""Which of the workspace's credentials an agent uses: by name, else the one that is in use."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict
from unfold.widgets import UnfoldAdminSelectWidget

from connectors_app import registry
from connectors_app.base.connector import Door
from connectors_app.models import Credential, failed_test
from connectors_app.registry import Problem
from pipelines_app import drafts

TITLE = "Credentials"
HELP = "“The one in use” is that which is so when a session begins."


@dataclass(frozen=True, slots=True)
class Kept:
    """A workspace's credential, as far as it can be chosen."""

    provider: str
    name: str
    is_active: bool
    failed: str = ""
    """What its last test says against it."""


def kept_by(workspaces: Iterable[int]) -> dict[int, list[Kept]]:
    """In one query."""
    found: dict[int, list[Kept]] = {workspace: [] for workspace in workspaces}
    rows = Credential.objects.filter(workspace__in=found)
    columns = "workspace", "provider", "name", "is_active", "test_passed", "test_outcome"
    for workspace, provider, name, is_active, passed, outcome in rows.values_list(*columns):
        found[workspace].append(Kept(provider, name, is_active, failed_test(passed, outcome)))
    return found


def serving(document: Mapping[str, Any], kept: Collection[Kept]) -> frozenset[str]:
    """The providers for which calls that run this document have a credential."""
    return frozenset(one.provider for one in chosen(document, kept))


def chosen(document: Mapping[str, Any], kept: Iterable[Kept]) -> list[Kept]:
    """Of each provider the one that calls that run this document use: the named one, else the one in use."""
    named = drafts.named_credentials(document)
    return [one for one in kept if (named[one.provider] == one.name if one.provider in named else one.is_active)]


def failed_tests(document: Mapping[str, Any], kept: Iterable[Kept]) -> dict[str, str]:
    """By provider, what the last test of the one that calls use says against it."""
    return {one.provider: f"“{one.name}”: {one.failed}" for one in chosen(document, kept) if one.failed}


def asked_by(document: Mapping[str, Any]) -> frozenset[str]:
    """The slugs of the credentials by which the providers go that calls may ask, rooms included."""
    services = (*drafts.roles(drafts.flow_steps(document)), Door.TRANSPORT)
    return frozenset(registry.credential_of(slug) for service in services for slug in drafts.chain(document, service))


def credential_problems(named: Mapping[str, str], workspace: int) -> list[Problem]:
    """Of the credentials that a document names and the workspace does not have."""
    known = registry.with_credentials()
    wanted = {slug: name for slug, name in named.items() if slug in known}
    return [
        Problem(f"credentials.{slug}", f"the workspace has no {known[slug].label} credential “{named[slug]}”; {has}")
        for slug, names in Credential.objects.unknown_names(workspace, wanted).items()
        for has in [f"there are: {', '.join(names)}" if names else "it has none of this provider"]
    ]


def credential_warnings(document: drafts.Document, workspace: int) -> list[str]:
    """What calls that run this document do without."""
    gone = [
        f"{problem.message[:1].upper()}{problem.message[1:]}: calls pass it over."
        for problem in credential_problems(drafts.named_credentials(document), workspace)
    ]
    asked, known = asked_by(document), registry.with_credentials()
    failed = failed_tests(document, kept_by([workspace])[workspace])
    return gone + [
        f"The {known[slug].label} credential {said}" for slug, said in failed.items() if slug in asked and slug in known
    ]


class ChosenCredentials(forms.Form):
    """A choice for each provider of which the workspace has credentials, or of which the document names one."""

    def __init__(self, document: drafts.Document, workspaces: Sequence[int], posted: QueryDict | None) -> None:
        self.document = document
        self.named = drafts.named_credentials(document)
        super().__init__(posted, prefix="credentials", initial=self.named)
        names = _names(workspaces[0]) if len(workspaces) == 1 else {}
        for slug, connector in registry.with_credentials().items():
            if slug in names or slug in self.named:
                self.fields[slug] = self._field(slug, connector.label, names.get(slug, []))

    def _field(self, slug: str, label: str, names: Sequence[str]) -> forms.ChoiceField:
        choices = [("", "The one in use"), *((name, name) for name in names)]
        if (named := self.named.get(slug)) and named not in names:
            choices.append((named, f"{named} (not there)"))
        return forms.ChoiceField(
            label=label, choices=choices, required=False, widget=UnfoldAdminSelectWidget(), help_text=HELP
        )

    def option_fields(self) -> list[tuple[forms.BoundField, None]]:
        return [(self[name], None) for name in self.fields]

    def how_many_set(self) -> int:
        return len(self.named)

    def written_into(self, document: drafts.Document) -> drafts.Document:
        """What was not sent stays as it was."""
        sent = {slug: name for slug, name in self.cleaned_data.items() if self.add_prefix(slug) in self.data}
        kept = {slug: name for slug, name in drafts.section(document, "credentials").items() if slug not in sent}
        chosen = {slug: name for slug, name in sent.items() if name}
        return drafts.with_section(document, "credentials", {**kept, **chosen})


def _names(workspace: int) -> dict[str, list[str]]:
    """By provider, the one in use first."""
    found: dict[str, list[str]] = {}
    for provider, name in Credential.objects.filter(workspace=workspace).values_list("provider", "name"):
        found.setdefault(provider, []).append(name)
    return found
