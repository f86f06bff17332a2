"""Agents by command: `agents import FILE --slug S [--publish]`, `agents export --slug S`, `agents list`."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts_app.models import DEFAULT_WORKSPACE, Workspace
from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError
from mesh.config.rules import warnings
from pipelines_app import actions
from pipelines_app.models import Agent


class Command(BaseCommand):
    help = "Import, export and list agents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)

        load = verbs.add_parser("import", help="make an agent of a configuration document, or replace its draft")
        load.add_argument("file", type=Path)
        load.add_argument("--slug", required=True)
        load.add_argument("--publish", action="store_true", help="let new sessions run it at once")
        load.add_argument("--name", help="what people call it")
        load.add_argument("--number", help="its phone number, +49… ; an empty text takes it away")
        load.add_argument("--default", action="store_true", help="it answers calls that name no agent")
        load.add_argument("--note", default="", help="why this version is published")

        export = verbs.add_parser("export", help="print a configuration document as JSON")
        export.add_argument("--slug", required=True)
        export.add_argument("--version", dest="version_number", type=int, help="default: the published one")

        verbs.add_parser("list", help="print slug, published version, number and name")
        for verb in verbs.choices.values():
            verb.add_argument("--workspace", default=DEFAULT_WORKSPACE, help="its slug (default: %(default)s)")

    def handle(self, *args: Any, verb: str, workspace: str, **options: Any) -> None:
        try:
            found = Workspace.objects.get(slug=workspace)
        except Workspace.DoesNotExist:
            raise CommandError(f"--workspace: there is no workspace {workspace!r}") from None
        {"import": self.load, "export": self.export, "list": self.list}[verb](found, **options)

    def load(self, workspace: Workspace, **options: Any) -> None:
        identity = actions.Identity(options["name"], options["number"], options["default"])
        file, publish = options["file"], options["publish"]
        try:
            agent = actions.import_agent(
                workspace=workspace,
                slug=options["slug"],
                document=load_json(file.read_bytes()),
                publish=publish,
                identity=identity,
                note=options["note"],
            )
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        except ConfigError as error:
            raise CommandError("\n".join(f"{file}: {problem}" for problem in error.problems)) from None
        except ValidationError as error:
            raise CommandError(_explain(error)) from None
        for warning in warnings(actions.check_document(agent.draft)):
            self.stderr.write(f"{file}: note: {warning}")
        state = f"version {agent.published.number} is published" if publish and agent.published else "draft saved"
        self.stdout.write(f"{agent.slug}: {state}")

    def export(self, workspace: Workspace, **options: Any) -> None:
        agent = Agent.objects.for_workspace(workspace).filter(slug=options["slug"]).select_related("published").first()
        if agent is None:
            raise CommandError(f"--slug: workspace {workspace} has no agent {options['slug']!r}")
        try:
            document = actions.export_agent(agent=agent, number=options["version_number"])
        except actions.NeverPublished as error:
            raise CommandError(f"--version: {error}") from None
        self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))

    def list(self, workspace: Workspace, **options: Any) -> None:
        for agent in Agent.objects.for_workspace(workspace).select_related("published"):
            version = f"version {agent.published.number}" if agent.published else "draft"
            mark = "default" if agent.is_default else ""
            self.stdout.write("\t".join((agent.slug, version, agent.phone_number, mark, agent.name)))


def _explain(error: ValidationError) -> str:
    """The fields by the names of the options that set them."""
    options = {"phone_number": "number"}
    if not hasattr(error, "error_dict"):
        return "\n".join(error.messages)
    return "\n".join(
        f"--{options.get(field, field)}: {' '.join(messages)}" for field, messages in error.message_dict.items()
    )
