"""`liandong console`: links into the console, and a console for a platform elsewhere."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import console as consoles
from deploy.local import places
from deploy.local.cli_run import Folder, run
from deploy.local.remote import Remote
from gateway.console.callers import served_in
from gateway.console.links import key_at
from gateway.console.serving import serve
from gateway.console.settings import ConsoleSettings

console = typer.Typer(help="The web console: links to come in by.", invoke_without_command=True)
out = Console()


@console.callback()
def serve_console(
    context: typer.Context,
    *,
    gateway: Annotated[str, typer.Option(help="The platform's gateway, HOST:PORT.")] = "",
    public: Annotated[str, typer.Option(help="Its public door, HOST:PORT.")] = "",
    certs: Annotated[Path | None, typer.Option(help="Institutions' certificates.")] = None,
    address: Annotated[str, typer.Option(help="Where browsers come to.")] = "127.0.0.1:8420",
    env: Annotated[str, typer.Option(help="The platform's environment.")] = "local",
    programmes: Annotated[Path | None, typer.Option(help="The counties' overlays.")] = None,
) -> None:
    """Serve a console for a platform elsewhere, and print a link for each institution."""
    if context.invoked_subcommand is not None:
        return
    if not gateway or certs is None:
        raise typer.BadParameter("--gateway and --certs say for which platform; see also `link`")
    settings = ConsoleSettings(
        address=address,
        gateway_address=gateway,
        public_gateway_address=public,
        credentials_path=certs,
        link_key_path=certs / "console-links.key",
        person_metadata=True,
    )
    key_at(settings.link_key_path)
    for institution in served_in(certs):
        made = consoles.link(
            settings.base_url, settings.link_key_path, institution, f"{institution}-p1"
        )
        print(f"{institution}: {made}")
    run(serve(settings, env, [programmes] if programmes else []))


@console.command()
def link(
    *,
    institution: Annotated[str, typer.Option("--institution", help="Whose certificate is used.")],
    person: Annotated[
        str, typer.Option("--person", help="Who acts; the first post if empty.")
    ] = "",
    folder: Folder = "main",
    seconds: Annotated[int, typer.Option(min=10, max=86_400)] = consoles.LINK_SECONDS,
) -> None:
    """Print a link by which a person of an institution comes in, once."""
    own = places.find().folder(folder)
    remote = Remote.read(own)
    if institution not in served_in(Path(remote.certificates)):
        raise typer.BadParameter(f"{institution} has no certificate in {remote.certificates}")
    if not remote.console:
        raise typer.BadParameter(f"no console was started in {own.path}; try `liandong up`")
    print(
        consoles.link(
            remote.console,
            consoles.key_path(own),
            institution,
            person or f"{institution}-p1",
            seconds=seconds,
        )
    )
