"""Programmes: a county's packs in plain words, each sentence with the rows of text it rests on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from gateway.console.desk import Desk, Hidden
from gateway.disclosures import five, plain_sheet
from gateway.plain_words import WORDS
from services.programmes.schema.values import Clause, Open

DEPTH_MAX = 12
CLAUSES_MAX = 1_000
VALUES_MAX = 12


@dataclass(frozen=True, slots=True)
class Said:
    """One clause of a pack."""

    path: str
    values: tuple[tuple[str, str], ...]
    source: tuple[str, ...]
    open: tuple[str, ...]
    """What the programme leaves open here."""


async def programmes(desk: Desk) -> Response:
    """Every programme that the county follows or followed."""
    catalogue = desk.request.state.console.catalogue
    today = await desk.today() or date.today()  # noqa: DTZ011 - before the first business day
    entries = [
        (entry, catalogue.terms(desk.county, entry.programme).pack, entry.holds_on(today))
        for entry in catalogue.entries(desk.county)
    ]
    return await desk.page("programmes.html", entries=entries)


async def programme(desk: Desk) -> Response:
    """One programme: its five disclosures, its products, every clause with its sources."""
    ref = str(desk.request.path_params["ref"])
    catalogue = desk.request.state.console.catalogue
    if ref not in catalogue.ever_adopted(desk.county):
        raise Hidden(ref)
    pack = catalogue.terms(desk.county, ref).pack
    zh = desk.language == "zh"
    pick = 0 if zh else 1
    names = await desk.names()
    parties = {
        party: [names.get(each, each) for each in found]
        for party, found in catalogue.parties(desk.county, ref).items()
    }
    return await desk.page(
        "programme.html",
        ref=ref,
        header=pack.programme,
        sections=[(each.title[pick], [line[pick] for line in each.lines]) for each in five(pack)],
        products=[
            (product.title.zh if zh else product.title.en, [x[pick] for x in plain_sheet(product)])
            for product in pack.loan_products
        ],
        parties=parties,
        clauses=list(_clauses(pack, desk.language))[:CLAUSES_MAX],
    )


def _clauses(pack: BaseModel, language: str) -> Iterator[Said]:
    """Every clause that names its sources, in the pack's order."""
    waiting: list[tuple[str, Any, int]] = [("", pack, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, Clause) and value.source:
            yield Said(path, tuple(_plain(value, language)), value.source, tuple(_open(value)))
        if depth < DEPTH_MAX:
            waiting.extend(
                (f"{path}.{key}" if path else key, each, depth + 1)
                for key, each in reversed(list(_inside(value)))
            )


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name != "source":
                yield name, getattr(value, name)
    elif isinstance(value, tuple | list):
        for number, each in enumerate(value):
            own = getattr(each, "id", None)
            yield str(own if isinstance(own, str) else number), each
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key), each


def _plain(value: BaseModel, language: str) -> Iterator[tuple[str, str]]:
    """The plain values of a clause, in words where there are words for a code."""
    found = 0
    for name in type(value).model_fields:
        each = getattr(value, name)
        if name in ("source", "id") or each is None or isinstance(each, Open | BaseModel):
            continue
        if isinstance(each, tuple | list):
            texts = [_word(x, language) for x in each if isinstance(x, str | int)]
            if not texts:
                continue
            text = ("、" if language == "zh" else ", ").join(texts)
        elif isinstance(each, Mapping):
            text = ", ".join(
                f"{_word(k, language)} {_word(v, language)}"
                for k, v in each.items()
                if not isinstance(v, BaseModel)
            )
        else:
            text = _word(each, language)
        if text and found < VALUES_MAX:
            found += 1
            yield name, text


def _word(value: object, language: str) -> str:
    if isinstance(value, bool):
        return {("zh", True): "是", ("zh", False): "否"}.get((language, value), str(value).lower())
    text = str(value)
    return WORDS[text][0 if language == "zh" else 1] if text in WORDS else text


def _open(value: BaseModel) -> Iterator[str]:
    for name in type(value).model_fields:
        each = getattr(value, name)
        if isinstance(each, Open):
            yield name
