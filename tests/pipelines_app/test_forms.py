import pytest
from django.urls import reverse

from accounts_app.models import User, Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from pipelines_app.actions import ensure_pipelines
from pipelines_app.models import Agent, AgentVersion
from tests.pipelines_app.agent_forms import as_staff, change_address, save, sent, shown_form
from tests.world import make_document, redraft, signed_in


def test_saving_unchanged_keeps_the_document(operator: User, version: AgentVersion) -> None:
    before = version.agent.draft
    page = save(signed_in(operator), version.agent)
    assert version.agent.draft == before
    assert "The draft is saved" in page.content.decode()


def test_texts_are_written_into_the_draft(operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, greeting="Hello!\r\nBicycles.", system_prompt="You sell bicycles.")
    assert (agent.draft["greeting"], agent.draft["system_prompt"]) == ("Hello!\nBicycles.", "You sell bicycles.")


def test_templates_and_variables_are_kept(operator: User, agent: Agent) -> None:
    client, variables = signed_in(operator), {"city": "Köln", "open": {"days": 5}}
    texts = {"context_instructions": "In {city}.", "user_template": "{input_data}\nAnswer briefly."}
    page = save(client, agent, **texts, variables='{"city": "Köln", "open": {"days": 5}}')
    assert agent.draft == make_document(**texts, variables=variables)
    assert "Looks like a mistake" not in page.content.decode()
    before = agent.draft
    save(client, agent, greeting="Hello!")
    assert agent.draft == before | {"greeting": "Hello!"}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("city: Köln", "This is not JSON"),
        ('["Köln"]', "one JSON object"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"the city": "Köln"}', "the city: Is no name"),
        ('{"session_id": 1}', "session_id: Is filled by every session itself"),
    ],
)
def test_wrong_variables_are_told_at_their_field(variables: str, words: str, operator: User, agent: Agent) -> None:
    before = agent.draft
    page = save(signed_in(operator), agent, variables=variables)
    assert words in page.context["adminform"].form.errors["variables"][0]
    assert agent.draft == before and 'agent-more" open' in page.content.decode()


@pytest.mark.accepts("C39", "C40")
@pytest.mark.parametrize("key", ["user_template", "context_instructions"])
def test_publishing_warns_of_names_without_a_value(key: str, operator: User, agent: Agent) -> None:
    page = save(signed_in(operator), agent, **{key: "{input_data} in {town}"}, _publish="").content.decode()
    assert agent.published is not None
    assert f"Looks like a mistake: {key.replace('_', ' ').capitalize()}: {{town}} stays empty" in page


@pytest.mark.parametrize("apology", ["Pardon me.", ""])
def test_an_agents_own_apology_is_kept(apology: str, operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, apology=apology)
    assert agent.draft["apology"] == apology
    assert shown_form(signed_in(operator), agent)["apology"].value() == apology


def test_saving_and_publishing_notes_why(operator: User, version: AgentVersion) -> None:
    agent = version.agent
    save(signed_in(operator), agent, greeting="Hello!", note="A friendlier start", _publish="")
    assert agent.published is not None
    assert (agent.published.number, agent.published.note) == (2, "A friendlier start")
    assert agent.published.config["greeting"] == "Hello!"


def test_the_order_of_providers_is_kept(operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, llm_order=["anthropic", "openai"])
    entry = agent.draft["connectors"]["llm"]
    assert (entry["primary"], entry["fallback"]) == ("anthropic", ["openai"])
    assert entry["config"] == {"openai": {"temperature": 0.5}}


def test_an_option_out_of_range_is_marked(operator: User, agent: Agent) -> None:
    before = agent.draft
    client = signed_in(operator)
    page = save(client, agent, **{"llm-openai-temperature": "9"})
    card = page.context["adminform"].form.providers[1].chosen[0]
    assert card.form.errors == {"temperature": ["Ensure this value is less than or equal to 2."]}
    assert agent.draft == before


def test_the_documents_problem_stands_at_its_field(operator: User, agent: Agent) -> None:
    client = signed_in(operator)
    values = {"stt_order": ["pocketsphinx"], "stt-pocketsphinx-phrases": "hello"}
    page = save(client, agent, **values)
    card = page.context["adminform"].form.providers[0].chosen[0]
    assert "“hello” is one word" in card.form.errors["phrases"][0]


def test_unknown_keys_stay_untouched(operator: User, agent: Agent) -> None:
    redraft(agent, make_document() | {"limits": {"max_duration_s": 60}})
    save(signed_in(operator), agent, **{"limits-max_duration_s": "", "turn-stop_ms": "700"})
    assert (agent.draft["limits"], agent.draft["turn"]) == ({}, {"stop_ms": 700})


def test_a_role_needs_a_provider(operator: User, agent: Agent) -> None:
    page = save(signed_in(operator), agent, tts_order=[])
    assert page.context["adminform"].form.providers[2].error == "Choose at least one provider."


def test_a_ready_made_pipeline_is_copied(operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, pipeline="ready:text-chat")
    steps = [(step["from"], step["to"]) for step in agent.draft["pipeline"]["flow"]]
    assert steps == [("transport", "llm"), ("llm", "transport")]


def test_own_pipelines_stand_in_for_ready_made(
    operator: User, workspace: Workspace, other_workspace: Workspace
) -> None:
    client, address = signed_in(operator), reverse("admin:pipelines_app_agent_add")
    ensure_pipelines(workspace=workspace)
    _, *first = client.get(address).context["adminform"].form.fields["pipeline"].choices
    assert [title for title, _ in first] == ["Pipelines of the workspace", "Ready-made"]
    ensure_pipelines(workspace=other_workspace)
    _, *second = client.get(address).context["adminform"].form.fields["pipeline"].choices
    names = sorted([workspace.name, other_workspace.name])
    assert [title for title, _ in second] == [f"Pipelines of {name}" for name in names]


def test_only_one_agent_is_the_default(operator: User, agent: Agent) -> None:
    other = Agent.objects.create(workspace=agent.workspace, slug="old", name="Old", is_default=True)
    save(signed_in(operator), agent, default="on")
    other.refresh_from_db()
    assert agent.is_default and not other.is_default


@pytest.mark.parametrize(("field", "value"), [("slug", "other"), ("phone_number", "+4930123456")])
def test_what_another_has_is_refused(operator: User, agent: Agent, field: str, value: str) -> None:
    Agent.objects.create(workspace=agent.workspace, slug="other", name="Other", phone_number="+4930123456")
    page = save(signed_in(operator), agent, **{field: value})
    assert "Another agent" in page.context["adminform"].form.errors[field][0]


def test_capabilities_are_words_with_commas(operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, capabilities="booking, german,, booking")
    assert agent.capabilities == ["booking", "german"]
    assert sent(shown_form(signed_in(operator), agent))["capabilities"] == "booking, german"


def test_what_somebody_else_saved_is_not_overwritten(operator: User, agent: Agent) -> None:
    client = signed_in(operator)
    opened = sent(shown_form(client, agent), greeting="Mine")
    redraft(agent, make_document(greeting="Theirs"))
    page = client.post(change_address(agent), opened)
    agent.refresh_from_db()
    assert agent.draft["greeting"] == "Theirs"
    assert "Somebody else has saved this agent" in page.content.decode()


@pytest.mark.parametrize(
    ("field", "theirs"),
    [
        ("name", "Theirs"),
        ("slug", "theirs"),
        ("phone_number", "+4930123456"),
        ("capabilities", ["theirs"]),
        ("description", "Theirs"),
        ("is_default", True),
    ],
)
def test_no_field_of_somebody_else_is_overwritten(operator: User, agent: Agent, field: str, theirs: object) -> None:
    client = signed_in(operator)
    opened = sent(shown_form(client, agent), system_prompt="Mine")
    Agent.objects.filter(pk=agent.pk).update(**{field: theirs})
    page = client.post(change_address(agent), opened)
    agent.refresh_from_db()
    assert getattr(agent, field) == theirs
    assert "Somebody else has saved this agent" in page.content.decode()


def test_what_no_field_holds_is_told_with_its_path(operator: User, agent: Agent) -> None:
    redraft(agent, make_document() | {"tune": "waltz"})
    page = save(signed_in(operator), agent, greeting="Hello")
    assert "tune: is not a key of this object" in page.content.decode()
    assert "see “Whole document”" in page.content.decode()


def test_an_unused_roles_problem_is_told_at_the_top(operator: User, agent: Agent) -> None:
    document = make_document()
    document["connectors"]["stt"] = {"primary": "nobody"}
    redraft(agent, document)
    page = save(signed_in(operator), agent, pipeline="ready:text-chat")
    [told] = page.context["adminform"].form.non_field_errors()
    assert "connectors.stt.primary: “nobody” is not a known stt provider" in told


def test_a_provider_that_is_not_known_keeps_its_options(operator: User, agent: Agent) -> None:
    document = make_document()
    document["connectors"]["llm"] = {"primary": "nobody", "config": {"nobody": {"x": 1}}}
    redraft(agent, document)
    page = save(signed_in(operator), agent)
    form = page.context["adminform"].form
    assert "“nobody” is not a known llm provider" in form.providers[1].error
    assert "This installation has no such provider." in page.content.decode()


def test_a_workspaces_own_credential_is_a_key(operator: User, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client = signed_in(operator)
    [card] = shown_form(client, agent).providers[1].chosen
    assert card.needs == "OPENAI_API_KEY"
    credential = Credential(workspace=agent.workspace, provider="openai", name="Ours", is_active=True)
    keep_credential(credential=credential, key="sk-of-the-tests-0123456789")
    [card] = shown_form(client, agent).providers[1].chosen
    assert card.needs == ""


def test_a_new_agent_needs_no_key_that_one_workspace_lacks(
    operator: User, workspace: Workspace, other_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    client, address = signed_in(operator), reverse("admin:pipelines_app_agent_add")
    first = []
    for owner_of_key in (workspace, other_workspace):
        credential = Credential(workspace=owner_of_key, provider="openai", name="Ours", is_active=True)
        keep_credential(credential=credential, key="sk-of-the-tests-0123456789")
        first.append(client.get(address).context["adminform"].form.providers[1].order)
    assert first == [("script",), ("openai",)]


def test_the_pipeline_is_called_by_its_name(operator: User, agent: Agent) -> None:
    client = signed_in(operator)
    assert "As it is now: Voice loop<" in str(shown_form(client, agent)["pipeline"])
    document = make_document()
    document["pipeline"]["flow"].pop()
    redraft(agent, document)
    assert "As it is now: voice_chat<" in str(shown_form(client, agent)["pipeline"])


def test_publishing_warns_of_missing_keys(operator: User, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    page = save(signed_in(operator), agent, tts_order=["espeak"], _publish="").content.decode()
    assert "No provider for Hearing is set up: calls will fail." in page
    assert agent.published is not None and "No provider for Speaking" not in page


def test_a_passed_over_provider_is_named(operator: User, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    page = save(signed_in(operator), agent, llm_order=["openai", "anthropic", "script"], _publish="").content.decode()
    assert "Thinking: OpenAI and Anthropic will be passed over: not set up yet." in page


def test_a_new_agent_comes_with_a_document(owner: User, workspace: Workspace) -> None:
    client = as_staff(owner)
    address = reverse("admin:pipelines_app_agent_add")
    form = client.get(address).context["adminform"].form
    values = sent(form, workspace=workspace.pk, name="New", slug="new", greeting="Hello!")
    client.post(address, values | {"_publish": ""})
    agent = Agent.objects.get(slug="new")
    assert agent.published is not None and agent.published.config["greeting"] == "Hello!"


def test_builders_of_no_workspace_add_none(teammate: User) -> None:
    assert as_staff(teammate).get(reverse("admin:pipelines_app_agent_add")).status_code == 403


def test_nobody_adds_to_another_workspace(owner: User, other_workspace: Workspace) -> None:
    client = as_staff(owner)
    address = reverse("admin:pipelines_app_agent_add")
    form = client.get(address).context["adminform"].form
    client.post(address, sent(form, workspace=other_workspace.pk, name="New", slug="new"))
    assert not Agent.objects.exists()
