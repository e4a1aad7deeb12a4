"""An invented county for the credit tests: its programmes, its households, who asks."""

from datetime import date
from typing import cast
from uuid import UUID

from google.protobuf.message import Message

from services.credit.model import CreditFile, Household, Observed
from services.credit.rules.scheme import Scheme, scheme_of
from services.kernel import rpc
from services.kernel.caller import Caller
from services.kernel.money import Fen
from services.kernel.rpc import Context, Guarded
from services.programmes.loader import Catalogue, load_texts

COUNTY = "990101"
OTHER_COUNTY = "990102"
TOWN = "990101001"
VILLAGE = "990101001001"
OTHER_VILLAGE = "990101002001"
OPENED = date(2021, 1, 4)
MONTHS = 12

PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
eligibility:
  borrower_classes: [poor_household]
  standards: [kind]
scoring:
  type: base_points
  scheme: plain
  base_points_centi: 10000
  adjustments:
    - {id: skills, points_centi: 500}
    - {id: late, points_centi: -1500}
  vetoes: [{id: arrears}, {id: dishonesty}]
  grades:
    - {id: A, min_score_centi: 9000, limit_fen: 5000000}
    - {id: AA, min_score_centi: 10500, limit_fen: 10000000}
  min_grade: A
  limit_validity_months: 12
  honours: {min_grade: A, levels: [{id: honest, uplift_fen: 3000000}]}
"""

# The year after: skills are worth less, so AA is out of reach with them alone.
PACK_NEXT = """
programme:
  id: plain
  version: "2"
  extends: plain@1
  supersedes: plain@1
  effective_from: 2022-01-01
  title: {zh: 示例二, en: Plain two}
scoring:
  adjustments:
    - {id: skills, points_centi: 100}
"""

# The same, with conditions that must hold whatever the score.
PACK_GATED = """
programme:
  id: gated
  version: "1"
  extends: plain@1
  effective_from: 2020-01-01
  title: {zh: 准入, en: Gated}
eligibility:
  gates: [{code: rated_and_granted}, {code: able_to_work}, {code: has_project}]
"""

PACK_OPEN = """
programme:
  id: undecided
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 未定, en: Undecided}
scoring:
  type: base_points
  scheme: undecided
  base_points_centi: 10000
  adjustments: {open: the county has not met}
  grades:
    - {id: A, min_score_centi: {open: nor on this}, limit_fen: 5000000}
"""

PACK_WEIGHED = """
programme:
  id: weighed
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 加权, en: Weighed}
scoring:
  type: weighted
  scheme: weighed
  factors: [{id: integrity, weight_pct: 60}, {id: labour, weight_pct: 40}]
  grades: [{id: A, min_score_centi: 6000, limit_fen: 5000000}]
"""

ADOPTION = """
adoption:
  county: "990101"
  entries:
    - {programme: plain@1, from: 2020-01-01, to: 2021-12-31, parties: {}}
    - {programme: plain@2, from: 2022-01-01, parties: {}}
    - {programme: gated@1, from: 2020-01-01, parties: {}}
    - {programme: weighed@1, from: 2020-01-01, parties: {}}
    - {programme: undecided@1, from: 2023-01-01, parties: {}}
"""


def a_catalogue() -> Catalogue:
    return load_texts(
        {
            "plain@1.yaml": PACK,
            "plain@2.yaml": PACK_NEXT,
            "gated@1.yaml": PACK_GATED,
            "undecided@1.yaml": PACK_OPEN,
            "weighed@1.yaml": PACK_WEIGHED,
            "adoption.yaml": ADOPTION,
        }
    )


def a_scheme(ref: str = "plain@1") -> Scheme:
    return scheme_of(a_catalogue().terms(COUNTY, ref))


def household_id(number: int) -> UUID:
    """Ids whose order is the order of the numbers."""
    return UUID(int=(0x7 << 76) | (0x2 << 62) | number)


def a_household(
    number: int = 1,
    *,
    area_code: str = VILLAGE,
    status: str = "registered_poor",
    honour: str = "",
) -> Household:
    return Household(household_id(number), area_code, status, honour)


def a_file(household: Household | None = None, *, delisted: bool = False) -> CreditFile:
    """A file that was never rated."""
    return CreditFile(
        county_code=COUNTY,
        household=household or a_household(),
        delisted=delisted,
        version=0,
        rating_id=None,
        programme="",
        score_centi=0,
        grade="",
        vetoes=(),
        limit_fen=Fen(0),
        valid_until=None,
        granted_on=None,
    )


def observed(**values: int) -> dict[str, Observed]:
    return {
        code: Observed(value, OPENED, entry)
        for entry, (code, value) in enumerate(values.items(), 1)
    }


def a_caller(
    role: str = "county_centre",
    *,
    institution_id: str = "cfc-1",
    county_code: str = COUNTY,
    areas: tuple[str, ...] = (),
) -> Caller:
    return Caller(
        institution_id=institution_id,
        role=role,
        person_id=f"{institution_id}-p1",
        county_code=county_code,
        areas=areas,
        purpose="",
        method="/liandong.credit.v1.CreditService/Any",
        body_hash="",
    )


def calling(caller: Caller, request: Message) -> Context:
    """The context of a call that came through the guard: well formed, caller verified."""
    rpc.check(request)
    return cast(Context, Guarded(cast(Context, None), caller))
