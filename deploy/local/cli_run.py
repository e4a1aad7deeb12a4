"""What commands share: options, and how one ends: what is expected to go wrong is one line."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

import grpc
import typer
import uvloop
from rich.console import Console

from deploy.local.backup import BackupError
from deploy.local.line_files import FileError
from deploy.local.places import FolderInUseError, PlaceError
from deploy.local.processes import StartError
from services.kernel.errors import LiandongError
from services.kernel.status import explain
from services.programmes.loader import PackErrors

T = TypeVar("T")
Folder = Annotated[str, typer.Option("--folder", help="Data folder of the platform.")]
County = Annotated[str, typer.Option("--county", help="Six digits; needed with several counties.")]

_EXPECTED = (
    *(StartError, PlaceError, FolderInUseError, FileError, BackupError),
    *(LiandongError, LookupError, ValueError, OSError),
)

errors = Console(stderr=True)


def run(work: Awaitable[T]) -> T:
    """Run a command's work."""

    async def whole() -> T:
        return await work

    try:
        return uvloop.run(whole())
    except PackErrors as error:
        errors.print(str(error), markup=False, highlight=False)
        raise typer.Exit(2) from None
    except grpc.aio.AioRpcError as error:
        errors.print(explain(error), markup=False, highlight=False)
        raise typer.Exit(1) from None
    except _EXPECTED as error:
        errors.print(str(error) or type(error).__name__, markup=False, highlight=False)
        raise typer.Exit(1) from None
