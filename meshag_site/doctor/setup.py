"""How the installation is set up: its addresses, telephony, and which providers can be used."""

import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import urlsplit

from connectors_app import registry
from connectors_app.base.connector import Door, Role
from connectors_app.models import Credential, failed_test
from mesh.openness import is_loopback
from meshag_site.doctor.findings import Area, Finding, Installation, Level, of_area

say, about_providers = of_area(Area.SETTINGS), of_area(Area.PROVIDERS)

ROLES = {Role.STT: "Recognisers", Role.LLM: "Models", Role.TTS: "Voices"}
ANYWHERE = {"0.0.0.0", "::"}
TWILIO_TOKEN = re.compile(r"[0-9a-f]{32}")


async def check_settings(its: Installation) -> list[Finding]:
    return [*check_addresses(its), check_door(its), *check_debug(its), check_telephony(its)]


async def check_providers(its: Installation) -> list[Finding]:
    return [check_rooms(its), *_wrong_settings(its.environ), *_broken_files()]


# -- addresses ------------------------------------------------------------------------------------------


def check_addresses(its: Installation) -> list[Finding]:
    troubles = [*_public(its.public_url), *_hosts(its)]
    if troubles:
        return troubles
    reach = its.public_url or "this machine only (set MESHAG_PUBLIC_URL for others and for telephony)"
    return [say("Addresses", Level.OK, f"open to {reach}")]


def _public(url: str) -> list[Finding]:
    parts = urlsplit(url)
    if url and is_loopback(parts.hostname or ""):
        fix = "set it to the address by which browsers and telephony reach you, or unset it"
        return [say("MESHAG_PUBLIC_URL", Level.WARNING, f"{url} is this machine itself", fix)]
    if parts.scheme == "http":
        fix = "put TLS in front and say https:// (docs/deployment.md)"
        seen = f"{url} is not https: browsers give it no microphone, and passwords travel in the open"
        return [say("MESHAG_PUBLIC_URL", Level.PROBLEM, seen, fix)]
    return []


def _hosts(its: Installation) -> list[Finding]:
    named = [host for host in its.allowed_hosts if not is_loopback(host.strip("[]"))]
    if "*" in named:
        fix = "list the names by which you are reached"
        return [say("MESHAG_ALLOWED_HOSTS", Level.WARNING, "* lets any page's name lead here", fix)]
    if its.bind in ANYWHERE and not named:
        seen = f"MESHAG_BIND={its.bind} listens to other machines, but the web answers only to localhost"
        return [say("MESHAG_ALLOWED_HOSTS", Level.WARNING, seen, "list this machine's names in MESHAG_ALLOWED_HOSTS")]
    return []


def check_door(its: Installation) -> Finding:
    if its.has_open_door:
        seen = "people at this machine call agents of the default workspace without an account"
        return say("Open door", Level.OK, seen, "MESHAG_OPEN_DOOR=0 closes it")
    return say("Open door", Level.OK, "closed: everybody needs an account or a key")


def check_debug(its: Installation) -> list[Finding]:
    if not its.debug:
        return []
    level = Level.PROBLEM if its.public_url else Level.WARNING
    return [say("MESHAG_DEBUG", level, "an error's page shows the program's insides to everybody", "unset it")]


def check_telephony(its: Installation) -> Finding:
    given = bool(its.environ.get("TWILIO_AUTH_TOKEN") or its.environ.get("TWILIO_AUTH_TOKEN_FILE"))
    token = its.environ.get("TWILIO_AUTH_TOKEN", "").strip()
    if token and not TWILIO_TOKEN.fullmatch(token):
        fix = "copy the account's Auth Token from Twilio's console"
        return say("Telephony", Level.WARNING, "TWILIO_AUTH_TOKEN is not 32 hexadecimal digits, as Twilio's are", fix)
    if its.environ.get("TWILIO_ACCOUNT_SID") and not given:
        seen = "TWILIO_ACCOUNT_SID alone hangs up no call"
        return say("Telephony", Level.WARNING, seen, "set TWILIO_AUTH_TOKEN too, the account's")
    if given and not its.public_url:
        seen = "TWILIO_AUTH_TOKEN is set, but signatures are made of the public address, and there is none"
        return say("Telephony", Level.WARNING, seen, "set MESHAG_PUBLIC_URL")
    if its.public_url and not given:
        return say(
            "Telephony", Level.OK, "closed: calls cannot be verified", "set TWILIO_AUTH_TOKEN to take phone calls"
        )
    if given:
        return say("Telephony", Level.OK, "calls are verified by signature")
    if its.has_open_door:
        return say("Telephony", Level.OK, "open to this machine, for trying")
    return say("Telephony", Level.OK, "closed", "set MESHAG_PUBLIC_URL and TWILIO_AUTH_TOKEN to take phone calls")


# -- providers ------------------------------------------------------------------------------------------


def check_roles(environ: Mapping[str, str], credentials: Iterable[Credential]) -> list[Finding]:
    """Who can be asked: with what the environment says, and with the credentials that are in use."""
    own = {credential.provider for credential in credentials}
    return [_role(role, environ, own) for role in ROLES]


def _role(role: Role, environ: Mapping[str, str], own: Collection[str]) -> Finding:
    usable, missing = registry.usable(role, environ), registry.missing(role, environ)
    with_own = [slug for slug in missing if registry.credential_of(slug) in own]
    wanted = [f"{slug} ({', '.join(names)})" for slug, names in missing.items() if slug not in with_own]
    name, hint = f"{ROLES[role]} ({role})", f"not set: {', '.join(wanted)}" if wanted else ""
    if not usable and not with_own:
        return about_providers(name, Level.PROBLEM, "no provider can be used", hint)
    seen = [", ".join(usable)] if usable else []
    if with_own:
        seen.append(f"with a workspace's credential: {', '.join(with_own)}")
    elif not any(registry.get(role, slug).key_setting for slug in usable):
        seen.append("there are no keys for others")
    return about_providers(name, Level.OK, "; ".join(seen), hint)


def _wrong_settings(environ: Mapping[str, str]) -> list[Finding]:
    """Each once, though several roles go by it."""
    found: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for connector in (registry.get(role, slug) for role in (*Role, *Door) for slug in registry.names(role)):
        for setting, problem in connector.wrong_settings(environ).items():
            found[setting] = problem
            names.setdefault(setting, []).append(connector.label)
    return [
        about_providers(setting, Level.PROBLEM, f"it {problem}", f"correct it: without, no {_or(names[setting])}")
        for setting, problem in found.items()
    ]


def _or(names: Iterable[str]) -> str:
    return " and no ".join(dict.fromkeys(names))


def _broken_files() -> list[Finding]:
    fix = "correct the file or take it out of connectors_app/providers, and start MeshAG again"
    return [
        about_providers(f"File {file}", Level.PROBLEM, f"its providers cannot be used: {why}", fix)
        for file, why in registry.broken().items()
    ]


def check_rooms(its: Installation) -> Finding:
    service = registry.get(Door.TRANSPORT, "daily")
    missing = service.missing_settings(its.environ)
    name = "Rooms (transport)"
    if not missing:
        return about_providers(name, Level.OK, "daily; its agents do not come into the rooms in this version")
    if its.environ.get("DAILY_API_KEY") or its.environ.get("DAILY_DOMAIN"):
        seen = "Daily needs its key and its domain, and one of them is not set"
        return about_providers(name, Level.WARNING, seen, f"set {missing[0]}, or unset the other one")
    return about_providers(name, Level.OK, "none", f"not set: daily ({', '.join(missing)})")


def check_credentials(environ: Mapping[str, str], credentials: Iterable[Credential]) -> list[Finding]:
    """Those that are in use, with their workspaces selected."""
    return [_credential(environ, credential) for credential in credentials]


def _credential(environ: Mapping[str, str], credential: Credential) -> Finding:
    name = f"Key for {credential.provider}, {credential.workspace.slug}"
    connector = credential.connector
    if why := credential.why_shut():
        fix = "enter the key again in the admin, or give back the key that sealed it (MESHAG_CREDENTIAL_KEYS)"
        return about_providers(name, Level.PROBLEM, f"“{credential.name}” cannot be used: {why}", fix)
    if connector is None:
        fix = "delete it in the admin"
        return about_providers(name, Level.WARNING, f"“{credential.name}” is for a provider that is not there", fix)
    environments = ", before the environment's" if environ.get(connector.key_setting) else "; the environment has none"
    seen = f"“{credential.name}” is used{environments}"
    if failed := failed_test(credential.test_passed, credential.test_outcome):
        fix = "test it again in the admin; if it fails still, enter another key"
        return about_providers(name, Level.WARNING, f"{seen}; {failed}", fix)
    return about_providers(name, Level.OK, seen)
