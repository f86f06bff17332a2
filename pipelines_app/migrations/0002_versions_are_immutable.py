"""The database itself refuses to change what was published; `published_by` may still lose a deleted user.

SQLite drops a trigger when a later migration rebuilds the table: such a migration runs `guard` again.
Deletion is refused by the model and by the foreign keys of what ran a version.
"""

from django.db import migrations

FROZEN = "agent_id, number, config, user_template, context_instructions, sha256, revision, note, published_at"

SQLITE = f"""
    CREATE TRIGGER version_is_immutable BEFORE UPDATE OF {FROZEN} ON pipelines_app_agentversion
    BEGIN SELECT RAISE(ABORT, 'a published version cannot be changed'); END
"""
POSTGRESQL = f"""
    CREATE FUNCTION refuse_version_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a published version cannot be changed' USING ERRCODE = 'restrict_violation'; END $$;
    CREATE TRIGGER version_is_immutable BEFORE UPDATE OF {FROZEN} ON pipelines_app_agentversion
    FOR EACH ROW EXECUTE FUNCTION refuse_version_change();
"""


def guard(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
    schema_editor.execute(statements[schema_editor.connection.vendor])


def unguard(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION refuse_version_change() CASCADE")
    else:
        schema_editor.execute("DROP TRIGGER IF EXISTS version_is_immutable")


class Migration(migrations.Migration):
    dependencies = [("pipelines_app", "0001_initial")]
    operations = [migrations.RunPython(guard, unguard)]
