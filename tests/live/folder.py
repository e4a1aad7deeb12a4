"""The folder of a run: for each case a county with its overlay, its adoption, its institutions."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from services.programmes.assemble import PackErrors, parties_named
from services.programmes.loader import Catalogue, load
from services.programmes.schema.pack import Header, split_ref
from tests.live.setup import Case, Setup, overlay_values

FIRST_COUNTY = 990_001
OVERLAY = "live"
RATING = "live-rating"
RATING_FROM = date(2010, 1, 1)
OPERATOR = "operator-live"
NATIONAL = "cn-national-2014@1"
POSTS = 3

ROLES: Mapping[str, str] = {
    "centre": "county_centre",
    "station": "township_station",
    "village": "village_department",
    "poverty": "poverty_office",
    "finance": "finance_bureau",
    "bank": "bank",
    "bank2": "bank",
    "bank3": "bank",
    "society": "mutual_aid_society",
    "insurer": "insurer",
    "guarantor": "guarantor",
    "portal": "household",
}
"""Short name of an institution of a county → its role."""

ALWAYS = ("centre", "station", "village", "finance")
"""Short names of those that every county has."""
BANKS = ("bank", "bank2", "bank3")

PARTIES: Mapping[str, tuple[str, ...]] = {
    "bank_a": ("bank",),
    "bank_b": ("bank2",),
    "custodian_bank": ("bank",),
    "mutual_aid_society": ("society",),
    "insurer": ("insurer",),
    "agri_guarantee": ("guarantor",),
    "guarantee_group": ("guarantor",),
    "guarantor": ("guarantor",),
    "reguarantor": ("guarantor",),
    "asset_keeper": ("guarantor",),
    "district_credit_company": ("guarantor",),
}
"""Party of a programme → who it is in a county; whoever is not here is the finance bureau."""

# Every county's rating comes from here unless its own programme rates: one grade for everybody.
RATING_PACK: Mapping[str, Any] = {
    "programme": {
        "id": RATING,
        "version": "1",
        "effective_from": RATING_FROM,
        "title": {"zh": "测试评级", "en": "Ratings of the live cases"},
    },
    "scoring": {
        "type": "base_points",
        "scheme": "live",
        "base_points_centi": 10_000,
        "adjustments": [],
        "grades": [{"id": "A", "min_score_centi": 0, "limit_fen": {"open": "said by each case"}}],
        "min_grade": "A",
        "limit_validity_months": 120,
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """A case, its county and what that county lives under."""

    case: Case
    county_code: str
    setup: Setup

    @property
    def packaged_ref(self) -> str:
        """The case's programme, or the setup's or the national one where the case names none."""
        named: str = self.case["programme"]
        return (self.setup.programme or NATIONAL) if named == "platform" else named

    @property
    def ref(self) -> str:
        """The programme of the county: that of the case, or the run's own variant of it."""
        if not self.setup.variant:
            return self.packaged_ref
        programme_id, version, _ = split_ref(self.packaged_ref)
        return f"{programme_id}-{self.county_code}@{version}"

    @property
    def programme_id(self) -> str:
        """The programme without its version."""
        return split_ref(self.ref)[0]


def places(asked: Iterable[tuple[Case, Setup]]) -> list[Place]:
    """A county for every case."""
    return [
        Place(case, str(FIRST_COUNTY + index), setup) for index, (case, setup) in enumerate(asked)
    ]


def write(folder: Path, wanted: Sequence[Place]) -> tuple[Catalogue, dict[str, str]]:
    """
    Write everything; the answer knows the terms of every county.

    The second answer says by county what is wrong with overlays that the loader refuses: such a
    county is left out, for its case has failed already.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packaged = load()
    _dump(folder / f"{RATING}@1.yaml", RATING_PACK)
    for place in wanted:
        _write_overlays(folder, place, packaged)
    overlaid, wrong = _load_without_wrong(folder)
    institutions: list[dict[str, Any]] = []
    for place in wanted:
        if place.county_code in wrong:
            continue
        named = parties(place, overlaid)
        _write_adoption(folder, place, overlaid, named)
        insured = overlaid.terms(place.county_code, _own_ref(place)).pack.insurance
        institutions += _institutions(place, named, insured=insured is not None)
    operator = _institution(OPERATOR, "operator", "000000", [])
    _dump(institutions_path(folder), {"institutions": [*institutions, operator]})
    return overlaid, wrong


def institutions_path(folder: Path) -> Path:
    """Where the institutions stand."""
    return folder / "institutions.yaml"


def _load_without_wrong(folder: Path) -> tuple[Catalogue, dict[str, str]]:
    try:
        return load([folder]), {}
    except PackErrors as errors:
        wrong: dict[str, str] = {}
        for problem in errors.problems:
            file = Path(problem.file)
            if file.parent != folder or not file.name[:6].isdigit():
                raise
            wrong.setdefault(file.name[:6], f"the overlay is refused: {problem}")
    for county in wrong:
        for path in folder.glob(f"{county}-*.yaml"):
            path.unlink()
    return load([folder]), wrong


def _write_overlays(folder: Path, place: Place, packaged: Catalogue) -> None:
    if place.setup.variant:
        _dump(folder / f"{place.ref}.yaml", _variant(place, packaged))
    refs = [(place.ref, place.packaged_ref), (place.setup.then, place.setup.then)]
    for number, (ref, packaged_ref) in enumerate((each for each in refs if each[0]), 1):
        programme_id, version, condition = split_ref(ref)
        header = {
            "name": OVERLAY,
            "county": place.county_code,
            "programme": f"{programme_id}@{version}",
            "status": "example",
            "conditions": [condition] if condition else [],
        }
        values = overlay_values(packaged.programme(packaged_ref), place.setup)
        written = {"overlay": header, "values": values}
        _dump(folder / f"{place.county_code}-overlay-{number}.yaml", written)
    rating = {
        "name": OVERLAY,
        "county": place.county_code,
        "programme": f"{RATING}@1",
        "status": "example",
    }
    limit = {"scoring": {"grades": [{"id": "A", "limit_fen": place.setup.limit_fen}]}}
    _dump(folder / f"{place.county_code}-rating.yaml", {"overlay": rating, "values": limit})


def _variant(place: Place, packaged: Catalogue) -> Mapping[str, Any]:
    """A pack that extends the case's programme and says something else than it."""
    extended = packaged.programme(place.packaged_ref).programme
    programme_id, version, _ = split_ref(place.ref)
    header = {
        "id": programme_id,
        "version": version,
        "extends": extended.ref,
        "effective_from": extended.effective_from,
        "title": {"zh": "测试变体", "en": "Variant of a live case"},
        "county_may_set": list(extended.county_may_set),
    }
    return {"programme": header, **place.setup.variant}


def _own_ref(place: Place) -> str:
    return _overlaid(place.ref)


def _overlaid(ref: str) -> str:
    programme_id, version, _ = split_ref(ref)
    return f"{programme_id}@{version}:{OVERLAY}"


def parties(place: Place, overlaid: Catalogue) -> Mapping[str, Sequence[str]]:
    """Every party that the county's terms name → short names of its institutions."""
    lenders = place.setup.lenders
    known = {**PARTIES, "lender": lenders, "bank": [each for each in lenders if each in BANKS]}
    terms = overlaid.terms(place.county_code, _own_ref(place))
    named = sorted({*parties_named(terms.pack), "lender"})
    return {party: known.get(party, ("finance",)) for party in named}


def _write_adoption(
    folder: Path, place: Place, overlaid: Catalogue, named: Mapping[str, Sequence[str]]
) -> None:
    county = place.county_code
    refs = [_overlaid(ref) for ref in (place.ref, place.setup.then) if ref]
    filled = {party: [f"{short}-{county}" for short in shorts] for party, shorts in named.items()}
    rating = {"programme": f"{RATING}@1:{OVERLAY}", "from": RATING_FROM, "parties": {}}
    own = [_entry(ref, overlaid.terms(county, ref).pack.programme, filled) for ref in refs]
    adoption = {"county": county, "entries": [*own, rating]}
    _dump(folder / f"{county}-adoption.yaml", {"adoption": adoption})


def _entry(ref: str, header: Header, parties: Mapping[str, Any]) -> dict[str, Any]:
    entry = {"programme": ref, "from": header.effective_from, "parties": parties}
    if header.effective_to is not None:
        entry["to"] = header.effective_to
    return entry


def _institutions(
    place: Place, named: Mapping[str, Sequence[str]], *, insured: bool
) -> list[dict[str, Any]]:
    """Those that always are there, those behind the parties, and whom the path asks besides."""
    county = place.county_code
    behind = [short for shorts in named.values() for short in shorts]
    insurer = ["insurer"] if insured else []
    wanted = dict.fromkeys([*ALWAYS, *behind, *insurer, *place.setup.others])
    return [
        _institution(
            f"{short}-{county}",
            ROLES[short],
            county,
            [f"{county}101"] if short in ("station", "village") else [county],
        )
        for short in wanted
    ]


def _institution(
    institution_id: str, role: str, county_code: str, areas: list[str]
) -> dict[str, Any]:
    return {
        "institution_id": institution_id,
        "name": {"zh": institution_id, "en": institution_id},
        "role": role,
        "county_code": county_code,
        "areas": areas,
        "persons": [
            {
                "person_id": f"{institution_id}-p{post}",
                "title": {"zh": "经办", "en": "Officer"},
                "duty": "maker" if post % 2 else "checker",
            }
            for post in range(1, POSTS + 1)
        ],
    }


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    # JSON is YAML, but days must stay days: hence the dumper, and aliases would not be strict.
    path.write_text(
        yaml.dump(value, Dumper=_Plain, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )


class _Plain(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
