"""Disks of one's own: small ext4 file systems on loop devices, filled up or cut off from power."""

import asyncio
import ctypes
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.eventually import eventually

EXT4_IOC_SHUTDOWN = 0x8004587D
"""From the kernel's uapi: the file system stops at once, as if the power had gone."""
NOLOGFLUSH = 2
"""Not even the journal that is in memory is written."""

_PROGRAMS = ("mkfs.ext4", "mount", "umount", "losetup")
_PROBE_BYTES = 16 * 1024 * 1024
_COMMAND_SECONDS_MAX = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


class DiskError(RuntimeError):
    """A file system could not be made, mounted or let go."""


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), _COMMAND_SECONDS_MAX)
    if process.returncode != 0:
        raise DiskError(f"{' '.join(argv)}: {said.decode(errors='replace').strip()}")


def _prepare(image: Path, at: Path, size_bytes: int) -> os.stat_result:
    """An empty image; whose the folder is that it will be mounted at."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    return at.stat()


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system in a file, mounted at a folder."""

    image: Path
    at: Path

    @classmethod
    async def make(cls, image: Path, at: Path, *, size_bytes: int) -> "Disk":
        """Make and mount it; the folder's owner owns its root."""
        owner = await asyncio.to_thread(_prepare, image, at, size_bytes)
        # Nothing is put off until later: the first write finds its place.
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        await _run("mkfs.ext4", "-q", "-F", "-E", lazy, "-m", "0", str(image))
        disk = cls(image, at)
        await disk.mount()
        os.chown(at, owner.st_uid, owner.st_gid)
        os.chmod(at, 0o700)  # noqa: PTH101 - a call, not a wait for a path
        return disk

    async def mount(self) -> None:
        """Mount it; what its journal holds is replayed."""
        await _run("mount", "-o", "loop", str(self.image), str(self.at))

    async def unmount(self) -> None:
        """Let it go, once nobody works on it."""

        async def attempt() -> bool:
            try:
                await _run("umount", str(self.at))
            except DiskError as error:
                if "not mounted" in str(error):
                    return True
                if "busy" in str(error):
                    return False
                raise
            return True

        await eventually(attempt, seconds_max=30)

    def sync(self) -> None:
        """Write what is waiting, of this file system alone."""
        descriptor = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _libc.syncfs(descriptor) != 0:
                raise DiskError(f"syncfs of {self.at}: errno {ctypes.get_errno()}")
        finally:
            os.close(descriptor)

    def cut_power(self) -> None:
        """What was not synced is gone; from here on every write and sync fails."""
        descriptor = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NOLOGFLUSH.to_bytes(4, "little"))
        finally:
            os.close(descriptor)

    def fill(self, *, left_bytes: int = 0) -> int:
        """Take all the room but so much; how much that was."""
        free = shutil.disk_usage(self.at).free - left_bytes
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            taken = 0
            # In ever smaller steps, as the file system keeps a little for itself.
            for step in (64 * 2**20, 2**20, 4096):
                while taken + step <= free:
                    try:
                        os.posix_fallocate(descriptor, taken, step)
                    except OSError:
                        break
                    taken += step
        finally:
            os.close(descriptor)
        return taken

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.at / "ballast"


async def _probe() -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.mkdir(folder / "at")  # noqa: PTH102
        try:
            disk = await Disk.make(folder / "probe.img", folder / "at", size_bytes=_PROBE_BYTES)
        except (DiskError, OSError) as error:
            return f"no file system on a loop device: {str(error)[:120]}"
        try:
            disk.cut_power()
        except OSError as error:
            return f"ext4 cannot be shut down here: {error}"
        finally:
            await disk.unmount()
    return ""


@cache
def _lacks() -> str:
    if os.geteuid() != 0:
        return "unprivileged: only root mounts file systems"
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        return f"no program {', '.join(missing)}"
    return "" if Path("/dev/loop-control").exists() else "no loop devices"


async def why_not() -> str:
    """Why no disk can be made here; empty when one can."""
    return _lacks() or await _probe()
