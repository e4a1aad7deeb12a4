"""Once the contract is released, what breaks it is refused and what adds to it passes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.places import ROOT

LOANS = Path("protos/liandong/loans/v1/loans.proto")
RELEASED = Path("protos/releases/v1.binpb.gz")
BREAKS = {
    "int64 amount_fen = 3": "int64 amount_fen = 99",
    "  rpc ListLoans(": "  rpc ListSomeLoans(",
    "LOAN_STATE_SETTLED = ": "LOAN_STATE_OVER = ",
}


def make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    """The Makefile's own target; the virtual environment is taken as it is."""
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    return subprocess.run(
        ["make", "-o", ".venv/.made", target],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in inherited},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our protos with the Makefile, released as they are now."""
    folder = tmp_path_factory.mktemp("contract")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    shutil.copytree(
        ROOT / "protos", folder / "protos", ignore=shutil.ignore_patterns("gen", "releases")
    )
    done = make(folder, "proto-release")
    assert "no contract was released yet" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr
    return folder


def test_what_breaks_the_contract_is_refused(copy: Path) -> None:
    path = copy / LOANS
    text = path.read_text(encoding="utf-8")
    broken = text
    for was, now in BREAKS.items():
        assert was in text
        broken = broken.replace(was, now)
    path.write_text(broken, encoding="utf-8")
    try:
        # Nor can a break be made good by releasing it.
        refused = make(copy, "proto-release")
    finally:
        path.write_text(text, encoding="utf-8")

    assert refused.returncode != 0
    for said in ("amount_fen", "ListLoans", "LOAN_STATE_SETTLED", "docs/guides/versions.md"):
        assert said in refused.stdout


def test_what_adds_to_the_contract_passes_and_is_then_held_too(copy: Path) -> None:
    path = copy / LOANS
    before = (copy / RELEASED).read_bytes()
    text = path.read_text(encoding="utf-8")
    added = "// Something new.\nmessage Newcomer {\n  // Its name.\n  string name = 1;\n}\n"

    path.write_text(f"{text}\n{added}", encoding="utf-8")
    assert make(copy, "proto-release").returncode == 0
    assert (copy / RELEASED).read_bytes() != before
    path.write_text(text, encoding="utf-8")

    assert "Newcomer" in make(copy, "proto-breaking").stdout
