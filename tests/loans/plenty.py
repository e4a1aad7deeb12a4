"""A county with every kind of product: entities, groups, limits, controlled loans, an insurer's."""

from datetime import date
from typing import Any

from liandong.credit.v1 import events_pb2 as credit
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import loans_pb2

from services.kernel.caller import Caller
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue, load_texts
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    BANK,
    COUNTY,
    VILLAGE,
    House,
    a_caller,
    calling,
    day,
    told,
)

INSURER = "ins-1"
REF = "plenty@1"

PACK = """
programme:
  id: plenty
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plenty}
registry:
  documents: {required: [id_card, loan_certificate]}
  signatories: {among: [borrower, spouse], required: 1}
  identity_proof: [in_person, remote_biometric]
  remote_authority: {by: [adult_child], evidence: [authorisation_letter, recorded_call]}
eligibility:
  borrower_classes: [poor_household, non_poor_household, entity, village_collective]
  gates: [{code: wants_to_prosper}]
  max_age: 60
loans:
  benchmark:
    - {from: 2020-01-01, max_tenor_months: 12, rate_ppm: 36000}
    - {from: 2020-01-01, max_tenor_months: 60, rate_ppm: 54000}
  lpr:
    - {from: 2020-01-01, max_tenor_months: 12, rate_ppm: 38500}
    - {from: 2020-06-01, max_tenor_months: 12, rate_ppm: 39000}
  npl: {measure: overdue_days, more_than_days: 70}
  controlled_drawdown:
    threshold_fen: 50000000
    products: [entity_credit]
    requires: [evidence, county_approval, entrusted_payment, joint_signatures]
    staged: true
    account: {signatories: [cooperative, lender]}
  sanctions:
    - {id: evader, effects: [no_credit], ban_months: 60}
    - {id: late_payer, effects: [no_subsidy]}
    - {id: default_loans, cause: wilful_default, effects: [no_credit], ban_months: 60}
    - {id: default_subsidies, cause: wilful_default, effects: [no_subsidy], ban_months: 60}
loan_products:
  - id: outlet_credit
    title: {zh: 网点贷款, en: Outlet}
    borrower_classes: [poor_household]
    gates: [{code: credit_bureau_ok}]
    max_principal_fen: 5000000
    max_term_months: 36
    term_mode: production_cycle
    pricing: {mode: spread, reference: lpr, min_spread_ppm: 0, max_spread_ppm: 1000}
    funding_sources: [{id: own_funds}, {id: poverty_relending, max_rate_ppm: 39500}]
    subsidy: {mode: capped_rate, rate_ppm: 30000, max_months: 36}
    interest_settlement: [bullet, annual]
    approval_chain:
      - step: outlet_approves
        kind: approval
        organ: lender
        level: outlet
        joint_session: true
        starts_sla: true
    sla: {unit: days, value: 7}
    use:
      borrower_is: [user, repayer]
      modes: [self_development]
      prohibited_modes: [enterprise_use]
    purpose: {prohibited: [house_purchase]}
    fees: [{id: appraisal, max_fen: 10000}]
    reborrowing: after_full_repayment
    sharing_models: [shared]
  - id: online_credit
    title: {zh: 快贷, en: Online}
    borrower_classes: [poor_household, non_poor_household]
    facility: revolving
    revolving: {validity_months: 12}
    max_principal_fen: 50000000
    max_term_months: 36
    pricing: {mode: range, min_rate_ppm: 43500, max_rate_ppm: 70000}
    subsidy: {mode: none}
    fees: []
    interest_settlement: monthly
    approval_chain:
      - {step: model_decides, kind: approval, organ: lender, body: online_model, starts_sla: true}
    sla: {unit: minutes, value: 3}
    channels: [online]
    self_service: {all_day: true, identity_proof: face_recognition}
  - id: entity_credit
    title: {zh: 主体贷款, en: Entity}
    borrower_classes: [entity]
    entity_types: [cooperative, leading_enterprise]
    max_principal_fen: 1000000000
    max_term_months: 36
    pricing: {mode: benchmark_plus_pct, max_uplift_pct: 10}
    subsidy: {mode: fixed_rate, rate_ppm: 30000, max_months: 36, requires: [linkage_agreement]}
    interest_settlement: quarterly
    approval_chain:
      - {step: village_recommends, kind: recommendation, organ: village_department}
      - {step: group_advises, kind: consent, organ: village_risk_group, body: village_risk_group}
      - {step: bank_investigates, kind: investigation, organ: lender, starts_sla: true}
      - {step: insurer_investigates, kind: investigation, organ: insurer, joint_session: true}
      - {step: county_approves, kind: approval, organ: county_centre, joint_session: true}
    sla: {unit: working_days, value: 4}
  - id: insurer_financing
    title: {zh: 政融保, en: Insurer}
    borrower_classes: [entity]
    lender: insurer
    line_fen: 30000000
    max_principal_fen: 20000000
    max_term_months: 12
    pricing: {mode: range, min_rate_ppm: 55000, max_rate_ppm: 55000}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain: [{step: insurer_approves, kind: approval, organ: insurer}]
  - id: joint_guarantee
    title: {zh: 联保, en: Joint}
    borrower_classes: [poor_household, non_poor_household]
    max_principal_fen: 20000000
    max_term_months: 12
    group: {borrower: society, liability: joint, min_households: 10, max_households: 20}
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain: [{step: society_approves, kind: approval, organ: lender}]
  - id: mutual_help
    title: {zh: 互助, en: Pair}
    borrower_classes: [poor_household, non_poor_household]
    per_capita_fen: 200000
    max_term_months: 12
    group: {borrower: lead, liability: lead, min_households: 2}
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain: [{step: bank_approves, kind: approval, organ: lender}]
  - id: village_line
    title: {zh: 村集体, en: Village line}
    borrower_classes: [village_collective]
    facility: revolving
    revolving: {validity_months: 36}
    max_principal_fen: 100000000
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain:
      - {step: county_checks, kind: check, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
fund:
  multiple: 10
  custody: special_account
  models:
    - id: shared
      title: {zh: 分担, en: Shared}
      borrower_classes: [poor_household]
      layers: [{layer: ratio, ratio: {county_fund: 70, bank: 30}}]
      trigger: {overdue_more_than_days: 70}
      base: principal_and_interest
monitoring:
  breakers:
    - id: village_npl
      measure: npl_ratio
      scope: village
      more_than_ppm: 50000
      effects: [stop_grant, stop_approve, stop_draw, stop_disburse]
  five_tier:
    - {tier: normal, min_overdue_days: 0}
    - {tier: special_mention, min_overdue_days: 1}
    - {tier: substandard, min_overdue_days: 91}
    - {tier: doubtful, min_overdue_days: 181}
    - {tier: loss, min_overdue_days: 361}
"""

_ADOPTION = """
adoption:
  county: "%s"
  entries:
    - programme: plenty@1
      from: 2020-01-01
      parties:
        lender: [rcb-1, psb-1]
        bank: [rcb-1, psb-1]
        insurer: [ins-1]
        county_fund: fin-1
"""


def a_catalogue(pack: str = PACK) -> Catalogue:
    return load_texts(
        {
            "plenty@1.yaml": pack,
            "adoption.yaml": _ADOPTION % COUNTY,
            "days.yaml": "calendar: [{year: 2021, holidays: [2021-01-01, 2021-01-06]}]",
        }
    )


UNDERWRITER = a_caller("insurer", institution_id=INSURER)
SECOND_UNDERWRITER = a_caller("insurer", institution_id=INSURER, post=2)


class Entity:
    """A co-operative, an enterprise or a village's company, as households says it."""

    def __init__(self, kind: str = "cooperative", *, area_code: str = VILLAGE) -> None:
        self.household_id = new_id()
        self.area_code = area_code
        self.kind = kind
        self.status = ""

    def registered(self) -> Delivery:
        message = households.EnterpriseRegistered(
            enterprise_id=str(self.household_id), area_code=self.area_code, kind=self.kind
        )
        aggregate = ("households.enterprise", str(self.household_id))
        return told("liandong.households.v1.enterprise_registered", aggregate, 1, message)


def listed(house: House, cause: str, *, sequence: int) -> Delivery:
    """Credit puts a household on the blacklist."""
    message = credit.HouseholdListed(household_id=str(house.household_id), reason=cause)
    aggregate = ("credit.credit_file", str(house.household_id))
    return told("liandong.credit.v1.household_listed", aggregate, sequence, message)


def released(house: House, *, sequence: int) -> Delivery:
    message = credit.HouseholdReleased(household_id=str(house.household_id))
    aggregate = ("credit.credit_file", str(house.household_id))
    return told("liandong.credit.v1.household_released", aggregate, sequence, message)


def particulars(**changes: Any) -> loans_pb2.Particulars:
    """What the county asks of a household that borrows at the counter."""
    values: dict[str, Any] = {
        "documents": [
            loans_pb2.Document(kind=kind, evidence=f"sha256:{kind}")
            for kind in ("id_card", "loan_certificate")
        ],
        "signatories": ["borrower"],
        "use_mode": "self_development",
        "production_cycle_months": 10,
        "birth_date": day(date(1970, 5, 1)),
        "facts": [loans_pb2.Fact(code="credit_bureau_ok", holds=True)],
        **changes,
    }
    return loans_pb2.Particulars(**values)


def an_application(
    borrower: House | Entity, product_id: str, stated: loans_pb2.Particulars, **changes: Any
) -> loans_pb2.ApplyForLoanRequest:
    """For 30,000 yuan over a year from the bank."""
    values: dict[str, Any] = {
        "request_id": steps.an_id(),
        "county_code": COUNTY,
        "household_id": str(borrower.household_id),
        "lender_id": BANK,
        "programme_id": "plenty",
        "product_id": product_id,
        "principal_fen": 30_000 * YUAN,
        "term_months": 12,
        "purpose": "beekeeping",
        "used_in_area": borrower.area_code,
        "particulars": stated,
        **changes,
    }
    return loans_pb2.ApplyForLoanRequest(**values)


async def ask(
    servicer: LoansServicer, caller: Caller, request: loans_pb2.ApplyForLoanRequest
) -> loans_pb2.ApplyForLoanResponse:
    return await servicer.ApplyForLoan(request, calling(caller, request))


async def file_of(
    servicer: LoansServicer, loan_id: str, caller: Caller
) -> loans_pb2.GetApplicationResponse:
    request = loans_pb2.GetApplicationRequest(county_code=COUNTY, loan_id=loan_id)
    return await servicer.GetApplication(request, calling(caller, request))


def command(request_type: Any, loan_id: str, **values: Any) -> Any:
    """A request about one loan."""
    return request_type(request_id=steps.an_id(), county_code=COUNTY, loan_id=loan_id, **values)
