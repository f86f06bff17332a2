"""Providers that are out are told as long as they are, and loudly when an agent has nobody else to ask."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.utils import timezone

from accounts_app.models import Workspace
from connectors_app.base.connector import Role, Sealed
from connectors_app.breaker import Entry
from connectors_app.models import Credential
from connectors_app.pool import Pool
from connectors_app.preparing import Keyring
from mesh import subjects
from mesh.bucket import Bucket
from mesh.bus.client import Bus
from meshag_site.doctor import outages
from meshag_site.doctor.findings import Level
from meshag_site.doctor.outages import Outage, check_outages, hear_outages
from pipelines_app import actions
from pipelines_app.models import Agent
from tests.connectors_app.test_credentials import make_credential
from tests.meshag_site.doctor.conftest import Make
from tests.world import make_document, redraft

KEYS = {"OPENAI_API_KEY": "sk-environment", "ANTHROPIC_API_KEY": "sk-environment"}


def outage(provider: str = "openai", sealed: Sealed | None = None, **options: Any) -> Outage:
    """Of a model of `provider`, as its workers would share it."""
    keyring = Keyring(KEYS, settings.CREDENTIAL_SEALING)
    (target,) = keyring.targets(Role.LLM, [provider], {provider: options}, sealed or Sealed())
    since = timezone.now() - timedelta(minutes=5)
    return Outage(target.key, "llm", provider, target.model, target.is_own, "server", "OpenAI has an error", since)


@pytest.fixture
def shop(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Published; both of its models have keys of the environment."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    document = make_document()
    document["connectors"]["llm"] = {"primary": "openai", "fallback": ["anthropic"], "config": {}}
    actions.publish_agent(agent=redraft(agent, document))
    return agent


async def test_a_targets_key_is_the_workers_own() -> None:
    pool = Pool(KEYS)
    (model,) = pool.models(["openai"], {"openai": {"temperature": 0.5}}).connectors
    assert pool.breaker(model).target.key == outage(temperature=0.5).key
    await pool.close()


@pytest.mark.nats
async def test_only_who_is_out_is_heard(installation: Make) -> None:
    its, mark = installation(), uuid4().hex
    out = Entry(role="llm", provider=mark, model="m", is_out=True, kind="server", detail="an error", out=90.0)
    entries = {"a": msgspec.json.encode(out), "b": msgspec.json.encode(Entry(role="llm", provider=mark)), "c": b"?"}
    async with await Bus.connect(its.nats_url, "test") as bus:
        for name, value in entries.items():
            await Bucket(bus, subjects.BREAKERS, seconds=120).put(f"llm.{mark}.{name}", value, after=0)
    (heard,) = [found for found in await hear_outages(its) or () if found.provider == mark]
    assert (heard.key, heard.model, heard.detail) == (f"llm.{mark}.a", "m", "an error")
    assert timedelta(seconds=90) <= timezone.now() - heard.since < timedelta(seconds=100)


async def test_without_nats_none_is_heard(installation: Make) -> None:
    assert await hear_outages(installation(nats_url="nats://127.0.0.1:1")) == []


async def test_a_nats_that_does_not_tell_is_told(installation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "HEARD_WITHIN", 0)
    assert await hear_outages(installation()) is None
    (finding,) = check_outages(None, [], sees_all=True)
    assert finding.level is Level.WARNING


@pytest.mark.django_db
def test_an_outage_with_a_fallback_is_a_warning(shop: Agent) -> None:
    (finding,) = check_outages([outage()], [shop], sees_all=False)
    assert finding.level is Level.WARNING and finding.name.startswith("openai gpt-") and "(llm)" in finding.name
    assert finding.seen.startswith("out since ") and finding.seen.endswith(" UTC: OpenAI has an error")
    assert finding.fix


@pytest.mark.django_db
def test_an_agent_with_nobody_left_is_a_problem(shop: Agent, workspace: Workspace) -> None:
    twin = actions.import_agent(workspace=workspace, slug="twin", document=shop.draft, publish=True)
    alone, *others = check_outages([outage(), outage("anthropic")], [shop, twin], sees_all=False)
    assert alone.level is Level.PROBLEM and alone.name == f"Models (llm) of {shop.name}, {twin.name}"
    assert alone.seen.startswith("openai and anthropic: out, and nobody else can be asked")
    assert [finding.level for finding in others] == [Level.WARNING] * 2


@pytest.mark.django_db
def test_who_has_no_key_does_not_go_on(shop: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert check_outages([outage()], [shop], sees_all=False)[0].level is Level.PROBLEM


@pytest.mark.django_db
def test_an_own_key_is_a_target_of_its_own(shop: Agent, workspace: Workspace) -> None:
    credential = make_credential(workspace, provider="openai")
    assert check_outages([outage()], [shop], sees_all=False) == []
    own = outage(sealed=Sealed(workspace.slug, {"openai": credential.sealed}))
    (finding,) = check_outages([own], [shop], sees_all=False)
    assert "with a workspace's own key" in finding.seen
    Credential.objects.all().delete()
    assert check_outages([own], [shop], sees_all=False) == []


@pytest.mark.django_db
def test_what_others_ask_is_only_the_operators(shop: Agent) -> None:
    foreign = outage(model="their-own-model")
    assert check_outages([foreign], [shop], sees_all=False) == []
    assert check_outages([foreign], [], sees_all=True)[0].level is Level.WARNING
