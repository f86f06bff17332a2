import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts_app.actions import ensure_default_workspace
from accounts_app.models import Workspace
from mesh.config.json_text import load_json
from pipelines_app.actions import resolve_agent
from pipelines_app.models import Agent, AgentVersion
from tests.world import make_document

DOCUMENT = make_document(
    system_prompt='Sag "Grüß Gott" \u2028 🙂\n\tund {{bleib}} <höflich> & \\u0041',
    greeting="Grüß Gott!",
    turn={"threshold": 0.30000000000000004, "stop_ms": 200},
)


@pytest.fixture(autouse=True)
def default_workspace(db: None) -> Workspace:
    return ensure_default_workspace()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def run(*args: Any) -> str:
    out = StringIO()
    call_command("agents", *map(str, args), stdout=out)
    return out.getvalue()


@pytest.mark.accepts("M2", "M3")
def test_a_document_round_trips_exactly(file: Path) -> None:
    assert run("import", file, "--slug", "shop", "--publish") == "shop: version 1 is published\n"
    exported = run("export", "--slug", "shop")
    assert load_json(exported) == DOCUMENT
    file.write_text(exported)
    assert run("import", file, "--slug", "shop", "--publish") == "shop: version 1 is published\n"
    assert run("export", "--slug", "shop") == exported


def test_older_versions_can_be_exported(file: Path) -> None:
    run("import", file, "--slug", "shop", "--publish")
    file.write_text(json.dumps(make_document()))
    assert run("import", file, "--slug", "shop", "--publish", "--note", "plain") == "shop: version 2 is published\n"
    assert load_json(run("export", "--slug", "shop", "--version", 1)) == DOCUMENT
    assert load_json(run("export", "--slug", "shop")) == make_document()
    assert AgentVersion.objects.get(number=2).note == "plain"


def test_without_publish_it_is_a_draft(file: Path) -> None:
    assert run("import", file, "--slug", "shop") == "shop: draft saved\n"
    assert load_json(run("export", "--slug", "shop")) == DOCUMENT
    assert resolve_agent(slug="shop") is None


def test_import_sets_name_number_and_default(file: Path) -> None:
    run("import", file, "--slug", "shop", "--publish", "--name", "The shop", "--number", "+4930123456", "--default")
    assert run("list") == "shop\tversion 1\t+4930123456\tdefault\tThe shop\n"
    run("import", file, "--slug", "shop", "--number", "")
    assert Agent.objects.get().phone_number == ""


def test_another_workspace_can_be_named(file: Path, workspace: Workspace) -> None:
    run("import", file, "--slug", "shop", "--workspace", "bicycles")
    assert Agent.objects.get().workspace == workspace
    assert run("list") == ""
    assert "shop\tdraft" in run("list", "--workspace", "bicycles")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"system_prompt": "x" /* no */}', "JSON has no comments"),
        ('{"system_prompt": NaN}', "NaN is not a JSON number"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ("[]", "document: must be an object"),
        (json.dumps(make_document(turn={"stop_ms": 1})), "turn.stop_ms: "),
    ],
)
def test_a_wrong_document_is_explained(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(CommandError) as refused:
        run("import", file, "--slug", "shop", "--publish")
    assert said in str(refused.value) and str(file) in str(refused.value)
    assert not Agent.objects.exists()


def test_every_problem_is_named(file: Path) -> None:
    document = make_document()
    del document["system_prompt"], document["connectors"]["stt"]["primary"]
    file.write_text(json.dumps(document))
    with pytest.raises(CommandError, match=r"(?s)system_prompt: .*connectors\.stt\.primary: "):
        run("import", file, "--slug", "shop")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--slug", "Not A Slug"), "--slug: "),
        (("--slug", "shop", "--number", "030 1"), "--number: "),
        (("--slug", "shop", "--name", ""), "--name: "),
        (("--slug", "shop", "--workspace", "nowhere"), "--workspace: "),
    ],
)
def test_a_wrong_option_is_named(file: Path, args: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=f"^{said}"):
        run("import", file, *args)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.json: No such file"):
        run("import", tmp_path / "nothing.json", "--slug", "shop")


def test_a_missing_agent_is_named(file: Path) -> None:
    with pytest.raises(CommandError, match="--slug: workspace default has no agent 'shop'"):
        run("export", "--slug", "shop")
    run("import", file, "--slug", "shop")
    with pytest.raises(CommandError, match="--version: shop has no version 1"):
        run("export", "--slug", "shop", "--version", 1)


def test_odd_documents_are_remarked_upon(file: Path) -> None:
    document = make_document()
    document["pipeline"]["flow"][0]["stream"] = "smells"
    file.write_text(json.dumps(document))
    err = StringIO()
    call_command("agents", "import", str(file), "--slug", "shop", stdout=StringIO(), stderr=err)
    assert "pipeline.flow[0].stream" in err.getvalue()
