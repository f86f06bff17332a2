"""What a provider is made with in a session: its options, and the workspace's own credential or the environment's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Connector, Credentials, Door, Options, Role, Sealed
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.breaker import Target
from connectors_app.sealing import CannotOpen, Sealing


@dataclass(frozen=True, slots=True)
class Prepared:
    connector: type[Connector]
    options: Options
    credentials: Credentials

    def make(self) -> Connector:
        return self.connector(self.options, self.credentials)


@dataclass(frozen=True, slots=True)
class Keyring:
    """What opens providers: the installation's settings, and the keys that sealed the workspaces' credentials."""

    environ: Mapping[str, str]
    sealing: Sealing

    def prepare(self, role: Role | Door, slug: str, values: Mapping[str, Any], sealed: Sealed) -> Prepared:
        """Raises ProviderError: what is not set, cannot be opened, or is no option of this provider."""
        cls, credentials = self._configured(role, slug, sealed)
        try:
            return Prepared(cls, registry.make_options(cls, values), credentials)
        except ValidationError as error:
            raise ProviderError(ErrorKind.REQUEST, f"{slug}: {_first_fault(error)}") from None

    def targets(self, role: Role, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed) -> list[Target]:
        """Of the providers of a chain that can be asked."""
        options = registry.options_by_provider(order, config)
        found = []
        for slug in dict.fromkeys(order):
            try:
                found.append(Target.of(self.prepare(role, slug, options.get(slug, {}), sealed).make()))
            except ProviderError:
                continue
        return found

    def _configured(self, role: Role | Door, slug: str, sealed: Sealed) -> tuple[type[Connector], Credentials]:
        try:
            cls = registry.get(role, slug)
        except registry.UnknownConnector as error:
            raise ProviderError(ErrorKind.UNCONFIGURED, str(error)) from None
        is_own = slug in sealed.values
        settings = self._opened(cls, sealed) if is_own else self.environ
        if names := cls.missing_settings(settings):
            raise ProviderError(ErrorKind.UNCONFIGURED, _say_missing(cls, " and ".join(names), is_own))
        if wrong := registry.say_wrong(cls.wrong_settings(settings)):
            raise ProviderError(ErrorKind.UNCONFIGURED, f"{cls.label} cannot be used: {wrong}")
        return cls, replace(cls.credentials_from(settings), is_own=is_own)

    def _opened(self, cls: type[Connector], sealed: Sealed) -> Mapping[str, str]:
        if not sealed.values[cls.slug]:
            why = f"the workspace has no credential for {cls.label} of the name that the agent gives"
            raise ProviderError(ErrorKind.UNCONFIGURED, why)
        try:
            values = self.sealing.open(sealed.workspace, cls.goes_by(), sealed.values[cls.slug])
        except CannotOpen as error:
            why = f"the workspace's credential for {cls.label} cannot be opened: {error}"
            raise ProviderError(ErrorKind.UNCONFIGURED, why) from None
        return cls.own_settings(values, self.environ)


def _say_missing(cls: type[Connector], names: str, is_own: bool) -> str:
    if is_own:
        return f"the workspace's credential for {cls.label} lacks {names}"
    if cls.key_setting and cls.is_for_workspaces:
        return f"{cls.label} has no key: the workspace has no credential for it in use, and {names} is not set"
    return f"{cls.label} cannot be used before {names} is set"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
