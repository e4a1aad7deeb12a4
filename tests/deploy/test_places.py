"""Folders, secrets, locks and ports of the local servers."""

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from deploy.local import places
from deploy.local.places import DataFolder, FolderInUseError, PlaceError, Places


def test_a_folder_name_cannot_lead_elsewhere(machine: Places) -> None:
    for name in ("../main", "", "a/b", ".hidden", "MAIN"):
        with pytest.raises(PlaceError):
            machine.folder(name)


def test_a_secret_is_made_once_and_only_we_read_it(folder: DataFolder) -> None:
    first = folder.secret("loans_app")

    assert folder.secret("loans_app") == first
    assert folder.secret("loans_owner") != first
    file = folder.path / "secrets" / "loans_app"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_in_use_is_refused_until_it_is_let_go(folder: DataFolder) -> None:
    holder, other = folder.lock("postgres"), folder.lock("postgres")
    holder.take()
    holder.take()

    with pytest.raises(FolderInUseError):
        other.take()
    with pytest.raises(FolderInUseError), folder.all_locks():
        pass

    holder.free()
    other.take()
    other.free()


def test_a_port_is_kept_until_a_stranger_takes_it(folder: DataFolder) -> None:
    port = folder.port("nats")
    assert folder.port("nats") == port

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        other = folder.port("nats")

    assert other != port
    assert folder.port("nats") == other


def test_no_two_servers_of_a_folder_get_one_port(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.PORTS_VARIABLE, "23000-23003")
    ports = {name: folder.port(name) for name in ("nats", "loans", "gateway")}
    assert len(set(ports.values())) == 3
    assert all(23_000 <= port <= 23_003 for port in ports.values())

    (folder.path / "loans.port").write_text(f"{ports['gateway']}\n")
    assert len({folder.port(name) for name in ports}) == 3


@pytest.mark.parametrize("named", ["23000", "23003-23000", "80-90", "65000-65536", "a-b"])
def test_a_range_of_ports_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv(places.PORTS_VARIABLE, named)
    with pytest.raises(PlaceError, match="LIANDONG_PORTS is"):
        places.free_port()


def test_a_root_that_leads_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(places.HOME_VARIABLE, raising=False)
    monkeypatch.setattr(places, "server_user", lambda: None)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / ".liandong").symlink_to(theirs)

    with pytest.raises(PlaceError, match="not a folder of this user"):
        places.find(tmp_path)


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    places.write_file(tmp_path / "key.pem", "secret", mode=0o600)
    places.write_file(tmp_path / "key.pem", "other", mode=0o600)

    assert (tmp_path / "key.pem").read_text() == "other"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_who_copies_binaries_second_takes_those_of_the_first(tmp_path: Path) -> None:
    machine = Places(root=tmp_path, user=None)
    both = Barrier(2, timeout=60)

    def copy(to: Path) -> None:
        (to / "server").write_text("whole")
        # Neither sees the other's copy before its own is there.
        both.wait()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: machine._copied("server-1", copy), range(2)))

    assert found == [tmp_path / "binaries" / "server-1"] * 2
    assert (found[0] / "server").read_text() == "whole"
    assert [path.name for path in (tmp_path / "binaries").iterdir()] == ["server-1"]


def test_a_copy_that_broke_off_leaves_nothing(tmp_path: Path) -> None:
    machine = Places(root=tmp_path, user=None)

    def copy(to: Path) -> None:
        (to / "server").write_text("half")
        (to / "lost").read_text()

    with pytest.raises(FileNotFoundError):
        machine._copied("server-1", copy)

    assert list((tmp_path / "binaries").iterdir()) == []
