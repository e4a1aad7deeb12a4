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
POSTS, POSTS_OF_LENDERS = 2, 3

ROLES: Mapping[str, str] = {
    "centre": "county_centre",
    "station": "township_station",
    "village": "village_department",
    "poverty": "poverty_office",
    "finance": "finance_bureau",
    "bank": "bank",
    "bank2": "bank",
    "society": "mutual_aid_society",
    "insurer": "insurer",
    "guarantor": "guarantor",
}
"""Short name of an institution of every county → its role."""

PARTIES: Mapping[str, tuple[str, ...]] = {
    "lender": ("bank", "bank2", "society"),
    "bank": ("bank", "bank2"),
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
    def ref(self) -> str:
        """The case's programme, or the national one where the case names none."""
        named: str = self.case["programme"]
        return NATIONAL if named == "platform" else named

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
    kept = [place for place in wanted if place.county_code not in wrong]
    for place in kept:
        _write_adoption(folder, place, overlaid)
    institutions = [each for place in kept for each in _institutions(place.county_code)]
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
    programme_id, version, condition = split_ref(place.ref)
    header = {
        "name": OVERLAY,
        "county": place.county_code,
        "programme": f"{programme_id}@{version}",
        "status": "example",
        "conditions": [condition] if condition else [],
    }
    values = overlay_values(packaged.programme(place.ref), place.setup)
    _dump(folder / f"{place.county_code}-overlay.yaml", {"overlay": header, "values": values})
    rating = {
        "name": OVERLAY,
        "county": place.county_code,
        "programme": f"{RATING}@1",
        "status": "example",
    }
    limit = {"scoring": {"grades": [{"id": "A", "limit_fen": place.setup.limit_fen}]}}
    _dump(folder / f"{place.county_code}-rating.yaml", {"overlay": rating, "values": limit})


def _write_adoption(folder: Path, place: Place, overlaid: Catalogue) -> None:
    programme_id, version, _ = split_ref(place.ref)
    ref = f"{programme_id}@{version}:{OVERLAY}"
    terms = overlaid.terms(place.county_code, ref)
    named = {*parties_named(terms.pack), "lender"}
    parties = {
        party: [f"{short}-{place.county_code}" for short in PARTIES.get(party, ("finance",))]
        for party in sorted(named)
    }
    own = _entry(ref, terms.pack.programme, parties)
    rating = {"programme": f"{RATING}@1:{OVERLAY}", "from": RATING_FROM, "parties": {}}
    adoption = {"county": place.county_code, "entries": [own, rating]}
    _dump(folder / f"{place.county_code}-adoption.yaml", {"adoption": adoption})


def _entry(ref: str, header: Header, parties: Mapping[str, Any]) -> dict[str, Any]:
    entry = {"programme": ref, "from": header.effective_from, "parties": parties}
    if header.effective_to is not None:
        entry["to"] = header.effective_to
    return entry


def _institutions(county_code: str) -> list[dict[str, Any]]:
    township = f"{county_code}101"
    return [
        _institution(
            f"{short}-{county_code}",
            role,
            county_code,
            [township] if short in ("station", "village") else [county_code],
        )
        for short, role in ROLES.items()
    ]


def _institution(
    institution_id: str, role: str, county_code: str, areas: list[str]
) -> dict[str, Any]:
    posts = POSTS_OF_LENDERS if role in ("bank", "mutual_aid_society") else POSTS
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
            for post in range(1, posts + 1)
        ],
    }


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    # JSON is YAML, but days must stay days: hence the dumper, and aliases would not be strict.
    path.write_text(
        yaml.dump(value, Dumper=_Plain, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
