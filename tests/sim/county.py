"""An invented county for the simulation: its programmes and who acts in it."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from functools import cache

from services.kernel.caller import Caller
from services.loans.rules.lending import Actor
from services.programmes.loader import Catalogue, load_texts
from services.programmes.terms import Terms

COUNTY = "990101"
VILLAGE = f"{COUNTY}001001"
OPENED = date(2021, 1, 4)
BANK, OTHER_BANK, SOCIETY, INSURER = "rcb-1", "psb-1", "soc-1", "ins-1"
LENDERS = (BANK, OTHER_BANK, SOCIETY)
COVERS = ("accident", "disaster")
MULTIPLE = 10
TRIGGER_DAYS = 5
PROGRAMMES = ("careful@1", "swift@1")
"""Two ways to be: interest first and the household last; principal first and all paid at once."""

_PACK = """
programme:
  id: {name}
  version: "1"
  effective_from: 2020-01-01
  title: {{zh: 示例, en: Sample}}
loans:
  benchmark:
    - {{from: 2020-01-01, max_tenor_months: 60, rate_ppm: 54000}}
  day_basis: 360
  area_of_use: county
  appropriation_order: {order}
  npl: {{measure: overdue_days, more_than_days: 6}}
loan_products:
  - id: covered
    title: {{zh: 小额信贷, en: Covered}}
    borrower_classes: [poor_household]
    max_term_months: 36
    pricing: {{mode: benchmark}}
    subsidy: {{mode: none}}
    interest_settlement: bullet
    approval_chain:
      - {{step: county_recommends, kind: guarantee_recommendation, organ: county_centre}}
      - {{step: bank_approves, kind: approval, organ: lender}}
    purpose: {{prohibited: [house_purchase]}}
    sharing_models: [four_party]
insurance:
  covers:
    - id: accident
      kind: personal_accident
      title: {{zh: 意外险, en: Accident}}
      assigned: true
      payees: [[bank], [mutual_aid_society], household]
      sum_insured: {{of: fixed, amount_fen: 3000000}}
      premium: {{rate_ppm: 2000, payer: county}}
    - id: disaster
      kind: natural_disaster
      title: {{zh: 灾害险, en: Disaster}}
      assigned: true
      payees: [[bank, mutual_aid_society], household]
      sum_insured: {{of: fixed, amount_fen: 3000000}}
      premium: {{open: not stated}}
  required_covers: []
  sweep_trigger: always
  household_paid: {paid}
  claim_tiers: [{{tier: any, max_fen: null, working_days: 5}}]
fund:
  multiple: 10
  custody: special_account
  models:
    - id: four_party
      title: {{zh: 四位一体, en: Four parties}}
      borrower_classes: [poor_household]
      layers:
        - {{layer: ratio, ratio: {{county_fund: 20, bank: 10, guarantee: 50, reguarantee: 20}}}}
      trigger: {{overdue_more_than_days: 5}}
      base: principal_and_interest
monitoring:
  five_tier:
    - {{tier: normal, min_overdue_days: 0}}
    - {{tier: special_mention, min_overdue_days: 1}}
    - {{tier: substandard, min_overdue_days: 91}}
    - {{tier: doubtful, min_overdue_days: 181}}
    - {{tier: loss, min_overdue_days: 361}}
  breakers:
    - id: village_npl
      measure: npl_ratio
      scope: village
      more_than_ppm: 50000
      effects: [stop_grant, stop_approve, stop_draw, stop_disburse]
"""
_ENTRY = """
    - programme: {name}
      from: 2020-01-01
      parties:
        lender: [rcb-1, psb-1, soc-1]
        bank: [rcb-1, psb-1]
        mutual_aid_society: soc-1
        insurer: ins-1
        county_fund: fin-1
        guarantee: agr-1
        reguarantee: grp-1
"""
_INSTITUTION = """
  - institution_id: {name}
    name: {{zh: 机构, en: Institution}}
    role: {role}
    county_code: "990101"
    areas: ["990101"]
    persons:
      - {{person_id: {name}-p1, title: {{zh: 经办, en: Officer}}, duty: maker}}
      - {{person_id: {name}-p2, title: {{zh: 复核, en: Reviewer}}, duty: checker}}
"""
_WAYS: Mapping[str, Mapping[str, str]] = {
    "careful": {"order": "interest_first", "paid": "after_lenders_confirm"},
    "swift": {"order": "principal_first", "paid": "at_once"},
}
ROLES: Mapping[str, str] = {
    BANK: "bank",
    OTHER_BANK: "bank",
    SOCIETY: "mutual_aid_society",
    INSURER: "insurer",
    "cfc-1": "county_centre",
    "fin-1": "finance_bureau",
    "agr-1": "guarantor",
    "grp-1": "guarantor",
}


class Known(Catalogue):
    """The same catalogue; each version is looked up once in a hundred thousand histories."""

    def terms(self, county_code: str, ref: str) -> Terms:
        """What holds in the county."""
        return _terms(ref)

    def parties(self, county_code: str, ref: str) -> Mapping[str, tuple[str, ...]]:
        """Who is who."""
        return _parties(ref)


@cache
def _terms(ref: str) -> Terms:
    return Catalogue.terms(catalogue(), COUNTY, ref)


@cache
def _parties(ref: str) -> Mapping[str, tuple[str, ...]]:
    return Catalogue.parties(catalogue(), COUNTY, ref)


@cache
def catalogue() -> Catalogue:
    """What the county lives under."""
    entries = "".join(_ENTRY.format(name=name) for name in PROGRAMMES)
    texts = {f"{name}@1.yaml": _PACK.format(name=name, **ways) for name, ways in _WAYS.items()}
    texts["adoption.yaml"] = f'adoption:\n  county: "{COUNTY}"\n  entries:\n{entries}'
    listed = "".join(_INSTITUTION.format(name=name, role=role) for name, role in ROLES.items())
    texts["institutions.yaml"] = f"institutions:{listed}"
    texts["days.yaml"] = "calendar: [{year: 2021, holidays: [2021-01-01]}]"
    made = load_texts(texts)
    return Known(**{field.name: getattr(made, field.name) for field in fields(made)})


@cache
def caller(institution_id: str, post: int = 1) -> Caller:
    """A post of an institution."""
    return Caller(
        institution_id=institution_id,
        role=ROLES[institution_id],
        person_id=f"{institution_id}-p{post}",
        county_code=COUNTY,
        areas=(),
        purpose="simulation",
        method="",
        body_hash="",
    )


@cache
def actor(institution_id: str, post: int = 1) -> Actor:
    """The same as loans has it."""
    return Actor(institution_id, ROLES[institution_id], f"{institution_id}-p{post}")
