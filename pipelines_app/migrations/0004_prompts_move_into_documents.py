"""The document alone says how an agent behaves: the user template and the context instructions become keys of it.

Versions are rewritten this once, so their guard is away meanwhile: their documents, and with them the fingerprints. An
installation that has PostgreSQL does all of it or nothing.
"""

import hashlib
import json

from django.db import migrations

TEXTS = ("user_template", "context_instructions")
FROZEN = "agent_id, number, config, sha256, revision, note, published_at"
FROZEN_BEFORE = f"{FROZEN}, {', '.join(TEXTS)}"


def guard(columns):
    """By the function that an earlier migration made, where the database wants one."""

    def execute(apps, schema_editor):
        is_postgresql = schema_editor.connection.vendor == "postgresql"
        refusal = (
            "FOR EACH ROW EXECUTE FUNCTION refuse_version_change()"
            if is_postgresql
            else "BEGIN SELECT RAISE(ABORT, 'a published version cannot be changed'); END"
        )
        schema_editor.execute(
            f"CREATE TRIGGER version_is_immutable BEFORE UPDATE OF {columns} ON pipelines_app_agentversion {refusal}"
        )

    return execute


def unguard(apps, schema_editor):
    table = " ON pipelines_app_agentversion" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP TRIGGER version_is_immutable{table}")


def move_in(apps, schema_editor):
    for agent in apps.get_model("pipelines_app", "Agent").objects.all():
        if with_texts(agent, agent.draft):
            agent.save(update_fields=["draft"])
    for version in apps.get_model("pipelines_app", "AgentVersion").objects.all():
        with_texts(version, version.config)
        version.sha256 = fingerprint(version.config)
        version.revision = version.sha256[:12]
        version.save(update_fields=["config", "sha256", "revision"])


def with_texts(row, document):
    """Whether any is moved: a draft may be anything, and what it says of a key already stays."""
    texts = {name: getattr(row, name) for name in TEXTS if getattr(row, name)}
    if not texts or not isinstance(document, dict):
        return False
    document |= texts | document
    return True


def move_out(apps, schema_editor):
    for agent in apps.get_model("pipelines_app", "Agent").objects.all():
        take_texts(agent, agent.draft)
        agent.save(update_fields=["draft", *TEXTS])
    for version in apps.get_model("pipelines_app", "AgentVersion").objects.all():
        take_texts(version, version.config)
        version.revision = fingerprint(version.config)[:12]
        version.sha256 = fingerprint({"config": version.config} | {name: getattr(version, name) for name in TEXTS})
        version.save(update_fields=["config", "sha256", "revision", *TEXTS])


def take_texts(row, document):
    for name in TEXTS if isinstance(document, dict) else ():
        if isinstance(document.get(name), str):
            setattr(row, name, document.pop(name))


def fingerprint(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Migration(migrations.Migration):
    dependencies = [("pipelines_app", "0003_pipelines")]
    operations = [
        migrations.RunPython(unguard, guard(FROZEN_BEFORE)),
        migrations.RunPython(move_in, move_out),
        *(migrations.RemoveField(model, name) for model in ("agent", "agentversion") for name in TEXTS),
        migrations.RunPython(guard(FROZEN), unguard),
    ]
