"""Writes docs/reference/errors.md: every reason, its code, its meaning and what a client can do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tests.contract.places import PAGE, REMEDIES
from tests.contract.reasons import Reason, collect, named_by

MESSAGES_SHOWN_MAX = 2
PLACES_SHOWN_MAX = 6


class StaleError(Exception):
    """The remedies do not fit the code."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the page."""

    reason: str
    codes: Sequence[str]
    meaning: str
    remedy: str
    named_by: Sequence[str]


def rows(found: Mapping[str, Reason], remedies: Mapping[str, Any]) -> list[Row]:
    """Every reason with its remedy; StaleError with all that does not fit."""
    remedy_of: dict[str, str] = {}
    faults = []
    for group in remedies["remedies"]:
        for name in group["reasons"]:
            if name in remedy_of:
                faults.append(f"{name} has two remedies")
            remedy_of[name] = group["remedy"]
    ignored = set(remedies["not_reasons"])
    said = remedies["said"]
    faults += [f"{name} has no remedy" for name in found if name not in ignored | set(remedy_of)]
    listed = [*remedy_of, *ignored, *said]
    faults += [f"{name} is no reason of the code" for name in listed if name not in found]
    faults += [f"{name} is a reason and none" for name in sorted(ignored & set(remedy_of))]
    places = named_by()
    made = []
    for name in sorted(set(found) & set(remedy_of)):
        reason, own = found[name], said.get(name, {})
        codes = sorted({*reason.codes, *([own["code"]] if "code" in own else [])})
        meaning = own.get("meaning") or " · ".join(reason.messages[:MESSAGES_SHOWN_MAX])
        if not (codes and meaning):
            faults.append(f"{name} needs a code and a meaning under `said`")
        where = places.get(name) or sorted(reason.rooms)
        made.append(Row(name, codes, meaning, remedy_of[name], where))
    if faults:
        raise StaleError("\n".join(faults))
    return made


def page() -> str:
    """The page as it must be."""
    remedies = yaml.safe_load(REMEDIES.read_text(encoding="utf-8"))
    return str(remedies["head"]) + "\n" + "\n".join(_lines(rows(collect(), remedies))) + "\n"


def _lines(found: Sequence[Row]) -> Iterator[str]:
    yield f"## The {len(found)} reasons"
    yield ""
    yield "| reason | code | meaning | remedy | named by |"
    yield "| --- | --- | --- | --- | --- |"
    for row in found:
        shown = [f"`{each}`" for each in row.named_by[:PLACES_SHOWN_MAX]]
        if len(row.named_by) > PLACES_SHOWN_MAX:
            shown.append(f"and {len(row.named_by) - PLACES_SHOWN_MAX} more")
        codes = " ".join(f"`{code}`" for code in row.codes)
        cells = [f"`{row.reason}`", codes, row.meaning, row.remedy, " ".join(shown)]
        yield "| " + " | ".join(_cell(each) for each in cells) + " |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
