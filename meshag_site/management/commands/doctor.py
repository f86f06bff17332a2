"""`manage.py doctor`: what is wrong with this installation, and what to do about it."""

import asyncio
import json
import os
from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from meshag_site.doctor.examination import examine, examine_workspaces, this_installation
from meshag_site.doctor.findings import Area, Finding, Level, in_words, worst
from meshag_site.doctor.outages import Outage, hear_outages

SIGNS = {Level.OK: ("✓", "32"), Level.WARNING: ("!", "33"), Level.PROBLEM: ("✗", "31")}
WIDTH = 27


async def _look() -> tuple[list[Finding], list[Outage] | None]:
    its = this_installation()
    found, outages = await asyncio.gather(examine(its), hear_outages(its))
    return found, outages


class Command(BaseCommand):
    help = "Look at servers, programs, providers, settings and this machine. Ends with 1 when there is a problem."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs: a list of findings")

    def handle(self, *args: Any, **options: Any) -> None:
        found, outages = asyncio.run(_look())
        findings = examine_workspaces(None, outages) + found
        if options["json"]:
            self.stdout.write(json.dumps([finding.shown() for finding in findings], indent=2))
        else:
            self._tell(findings)
        if worst(findings) is Level.PROBLEM:
            raise SystemExit(1)

    def _tell(self, findings: list[Finding]) -> None:
        order = list(Area)
        findings = sorted(findings, key=lambda finding: order.index(finding.area))
        for area, found in groupby(findings, key=lambda finding: finding.area):
            self.stdout.write(self._coloured(f"\n{area}", "1"))
            for finding in found:
                self._tell_one(finding)
        self.stdout.write(f"\nMeshAG: {in_words(findings)}")

    def _tell_one(self, finding: Finding) -> None:
        sign, colour = SIGNS[finding.level]
        self.stdout.write(f"  {self._coloured(sign, colour)} {finding.name:<{WIDTH}} {finding.seen}")
        if finding.fix:
            self.stdout.write(self._coloured(f"    {'':<{WIDTH}} → {finding.fix}", "90"))

    def _coloured(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.stdout.isatty() and "NO_COLOR" not in os.environ else text
