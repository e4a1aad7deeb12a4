"""The guide for institutions: its files and commands, and the files of this folder in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GUIDE = ROOT / "docs" / "guides" / "institutions.md"

_BLOCK = re.compile(r"^```(?P<info>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its language, what it is for, and its text."""

    language: str
    use: str
    """Words for commands (`run`, `define`, `feed`, `nats`); `file=NAME`, `same=NAME`, or none."""
    text: str


def blocks() -> Iterator[Block]:
    """The guide's blocks in their order."""
    for found in _BLOCK.finditer(GUIDE.read_text(encoding="utf-8")):
        language, _, use = found["info"].partition(" ")
        yield Block(language, use, found["text"])


def script(use: str) -> str:
    """The commands of a use, one after the other."""
    return "".join(block.text for block in blocks() if use in block.use.split())


def write_files(folder: Path) -> None:
    """Write the files that the guide holds whole."""
    for block in blocks():
        if block.use.startswith("file="):
            (folder / block.use.removeprefix("file=")).write_text(block.text, encoding="utf-8")


def shown() -> str:
    """The guide with the files of this folder as they are."""

    def filled(found: re.Match[str]) -> str:
        info = found["info"]
        _, same, name = info.partition(" same=")
        text = (HERE / name).read_text(encoding="utf-8") if same else found["text"]
        return f"```{info}\n{text}```"

    return _BLOCK.sub(filled, GUIDE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    GUIDE.write_text(shown(), encoding="utf-8")
