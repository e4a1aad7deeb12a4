"""An invented county for histories: its programmes, who acts, the three services of its sagas."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any

from deploy.nats import topology
from services.claims import events_in as claims_in
from services.claims import reports as claims_reports
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.saga import PayoutsServicer
from services.funds import events_in as funds_in
from services.funds import jobs as funds_jobs
from services.funds import reports as funds_reports
from services.funds.servicer import FundsServicer
from services.kernel.caller import Caller
from services.kernel.inbox import Handlers
from services.kernel.operator import Books, OperatorServicer
from services.loans import events_in as loans_in
from services.loans import jobs as loans_jobs
from services.loans import store as loans_store
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue, load_texts
from services.programmes.schema.deployment import Adoption
from tests.conftest import MakeSchema
from tests.sagas.faults import Fragile
from tests.servers import Schema

NOUNS = ("loans", "claims", "funds")
HEARS: Mapping[str, tuple[str, ...]] = {
    noun: tuple(source for source in topology.load().hears[noun] if source in NOUNS)
    for noun in NOUNS
}
OPENED = date(2021, 1, 4)
BANK, OTHER_BANK, SOCIETY, INSURER = "rcb-1", "psb-1", "soc-1", "ins-1"
LENDERS = (BANK, OTHER_BANK, SOCIETY)
COVERS = ("accident", "disaster")
MULTIPLE = 10
TRIGGER_DAYS = 5
PROGRAMMES = ("careful", "swift")
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
  npl: {{measure: overdue_days, more_than_days: 70}}
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
  required_covers: [{{borrower_class: poor_household, covers: [accident, disaster]}}]
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
"""

_ADOPTION = """
adoption:
  county: "990101"
  entries:
"""
_ENTRY = """
    - programme: {name}@1
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
    county_code: "{county}"
    areas: ["990101"]
    persons:
      - {{person_id: {name}-p1, title: {{zh: 经办, en: Officer}}, duty: maker}}
      - {{person_id: {name}-p2, title: {{zh: 复核, en: Reviewer}}, duty: checker}}
"""
_WAYS = {
    "careful": {"order": "interest_first", "paid": "after_lenders_confirm"},
    "swift": {"order": "principal_first", "paid": "at_once"},
}

ROLES = {
    BANK: "bank",
    OTHER_BANK: "bank",
    SOCIETY: "mutual_aid_society",
    INSURER: "insurer",
    "cfc-1": "county_centre",
    "fin-1": "finance_bureau",
    "ops-1": "operator",
    "agr-1": "guarantor",
    "grp-1": "guarantor",
}


class Anywhere(Mapping[str, Adoption]):
    """Every county has adopted the same: a history has a county of its own."""

    def __init__(self, adoption: Adoption) -> None:
        self._adoption = adoption

    def __getitem__(self, county_code: str) -> Adoption:
        return self._adoption

    def __iter__(self) -> Iterator[str]:
        return iter([self._adoption.county])

    def __len__(self) -> int:
        return 1


@cache
def a_catalogue() -> Catalogue:
    """What all counties of the histories live under."""
    entries = "".join(_ENTRY.format(name=name) for name in PROGRAMMES)
    texts = {f"{name}@1.yaml": _PACK.format(name=name, **_WAYS[name]) for name in PROGRAMMES}
    texts["adoption.yaml"] = _ADOPTION + entries
    listed = "".join(
        _INSTITUTION.format(
            name=name, role=role, county="000000" if role == "operator" else "990101"
        )
        for name, role in ROLES.items()
    )
    texts["institutions.yaml"] = f"institutions:{listed}"
    texts["days.yaml"] = "calendar: [{year: 2021, holidays: [2021-01-01]}]"
    made = load_texts(texts)
    (adoption,) = made.adopted.values()
    return replace(made, adopted=Anywhere(adoption))


def a_caller(institution_id: str, county_code: str, method: str, *, post: int = 1) -> Caller:
    """A post of an institution, as the gateway would sign it."""
    return Caller(
        institution_id=institution_id,
        role=ROLES[institution_id],
        person_id=f"{institution_id}-p{post}",
        county_code="000000" if institution_id == "ops-1" else county_code,
        areas=(),
        purpose="test",
        method=method,
        body_hash="",
    )


@dataclass(frozen=True)
class Room:
    """One service of a history: its database, its methods, what it hears."""

    noun: str
    schema: Schema
    db: Fragile
    servicers: Mapping[str, Any]
    operator: OperatorServicer
    handlers: Handlers
    books: Books


async def rooms(make: MakeSchema) -> dict[str, Room]:
    """Three services on three databases that break when told to."""
    catalogue = a_catalogue()
    made: dict[str, Room] = {}
    for noun in NOUNS:
        schema = await make(noun)
        # Whoever looks on asks for a county; the services themselves never read a journal so.
        await schema.ask("CREATE INDEX ON journal (county_code)")
        await schema.ask("CREATE INDEX ON outbox (county_code, position)")
        db = Fragile(schema.app_dsn, noun, pool_size=2)
        handlers, books, servicers = _parts(noun, db, catalogue)
        made[noun] = Room(
            noun, schema, db, servicers, OperatorServicer(db, books, handlers), handlers, books
        )
    return made


def _parts(
    noun: str, db: Fragile, catalogue: Catalogue
) -> tuple[Handlers, Books, Mapping[str, Any]]:
    match noun:
        case "loans":
            books = Books(
                totals=loans_store.totals,
                close_day=loans_jobs.close_day(catalogue),
                work_day=loans_jobs.work_day(catalogue),
            )
            services: dict[str, Any] = {"LoansService": LoansServicer(db, catalogue)}
            return loans_in.handlers(catalogue), books, services
        case "claims":
            services = {
                "ClaimsService": ClaimsServicer(db, catalogue),
                "PayoutsService": PayoutsServicer(db, catalogue),
            }
            return claims_in.handlers(catalogue), claims_reports.books(catalogue), services
        case _:
            books = Books(totals=funds_reports.totals, close_day=funds_jobs.close_day(catalogue))
            services = {"FundsService": FundsServicer(db, catalogue)}
            return funds_in.handlers(catalogue), books, services
