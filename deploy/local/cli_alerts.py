"""The `liandong alerts` command: on one machine without Prometheus, a webhook is told."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import alerts as watching
from deploy.local import places
from deploy.local.cli_run import run
from deploy.local.remote import Remote

console = Console(highlight=False, markup=False, soft_wrap=True)


def alerts(
    *,
    webhook: Annotated[
        str,
        typer.Option(envvar="LIANDONG_ALERT_WEBHOOK", help="Who is told, http(s)://…"),
    ],
    every: Annotated[float, typer.Option(min=1.0, max=3_600.0, help="Seconds.")] = 15.0,
    once: Annotated[bool, typer.Option(help="Look once and end.")] = False,
    folder: Annotated[str, typer.Option("--folder", help="Data folder of the platform.")] = "main",
) -> None:
    """Watch a platform of this machine and post what is wrong, as Alertmanager would."""
    if not webhook.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="--webhook")

    async def work() -> None:
        endpoints = Remote.read(places.find().folder(folder)).metrics
        if not endpoints:
            raise LookupError("the platform of this folder tells no metrics; start it again")
        watch = watching.Watch()
        while True:
            told = await watching.round_of(watch, endpoints, webhook)
            if told or once:
                console.print(f"{told} alerts told")
            if once:
                return
            await asyncio.sleep(every)

    run(work())
