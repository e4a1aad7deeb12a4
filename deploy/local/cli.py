"""The `liandong` command: the platform on one machine, and an operator's tools for any."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS: Mapping[str, str] = {
    "up": "cli_platform.up",
    "down": "cli_platform.down",
    "demo": "cli_platform.demo_command",
    "advance-day": "cli_platform.advance_day",
    "audit": "cli_platform.audit",
    "import-households": "cli_files.import_households",
    "export-households": "cli_files.export_households",
    "import-facts": "cli_files.import_facts",
    "import-indicators": "cli_files.import_indicators",
    "import-insured": "cli_insurance.import_insured",
    "reconcile": "cli_insurance.reconcile",
    "export-insurance": "cli_insurance.export_insurance",
    "report": "cli_reports.report",
    "what-if": "cli_what_if.what_if",
    "alerts": "cli_alerts.alerts",
    "pause": "cli_pauses.pause",
    "resume": "cli_pauses.resume",
    "paused": "cli_pauses.paused",
    "status": "cli_institutions.status",
    "find": "cli_find.find",
    "trace": "cli_find.trace",
    "backup": "cli_backup.backup",
    "restore": "cli_backup.restore",
    "events": "cli_events.events",
    "parked": "cli_events.parked",
    "console": "cli_console.console",
    "feeds": "cli_feeds.feeds",
    "institutions": "cli_institutions.institutions",
    "access-log": "cli_access_log.access_log",
    "retention": "cli_access_log.retention",
    "programmes": "cli_programmes.programmes",
}
"""Each command, or group of commands, and where it stands."""


class OnDemand(TyperGroup):
    """Loads only what is asked for: all of it together takes seconds."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, as the help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(".")
        found = getattr(import_module(f"deploy.local.{module}"), name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = cmd_name
            return group
        one = typer.Typer(add_completion=False)
        one.command(name=cmd_name)(found)
        return typer.main.get_command(one)


app = typer.Typer(cls=OnDemand, no_args_is_help=True)


@app.callback()
def liandong() -> None:
    """Liandong: registry, credit, loans, claims, funds."""


def main() -> None:
    """The entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
