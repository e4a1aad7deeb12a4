"""`python -m tests.live`: ask the running services the golden cases, say which have no path."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.case_files import read_cases
from tests.live import runner


def main(
    file: Annotated[Path, typer.Argument(help="A file of cases.")] = runner.GOLDEN,
    *,
    rule: Annotated[list[str] | None, typer.Option(help="Only these rules.")] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only these cases.")] = None,
    each: Annotated[int, typer.Option(help="At most so many cases of a rule; 0 for all.")] = 0,
) -> None:
    """Each case in a county of its own, with a test overlay of its programme."""
    cases = [
        found
        for found in read_cases(file)
        if not (rule or case) or found["rule"] in (rule or ()) or found["id"] in (case or ())
    ]
    if each:
        cases = runner.few(cases, each)
    outcomes = asyncio.run(runner.run(cases, typer.echo))
    for outcome in outcomes:
        if outcome.without:
            typer.echo(outcome.line())
    failed = [outcome for outcome in outcomes if not outcome.passed and not outcome.without]
    if failed:
        typer.echo("\nwhat failed:")
        for outcome in failed:
            typer.echo(outcome.line())
    typer.echo(runner.summary(outcomes))
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
