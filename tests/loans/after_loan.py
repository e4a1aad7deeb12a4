"""A county whose programme tells, grants, publishes and relends; how its new methods are asked."""

from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from liandong.loans.v1 import entitlements_pb2, notices_pb2, relending_pb2

from services.kernel.caller import Caller
from services.loans.servicer.everything import DOORS
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.county import COUNTY, PACK, PROGRAMME, a_caller, a_catalogue, calling

FINANCE = a_caller("finance_bureau", institution_id="fin-1")
FINANCE_CHECKER = a_caller("finance_bureau", institution_id="fin-1", post=2)
CENTRE_CHECKER = a_caller("county_centre", institution_id="cfc-1", post=2)
AGRICULTURE = a_caller("agriculture_bureau", institution_id="agb-1")
FORESTRY = a_caller("forestry_bureau", institution_id="for-1")
WEATHER = a_caller("weather_bureau", institution_id="wea-1")
CENTRAL_BANK = a_caller("central_bank", institution_id="pbc-1")
STATION = a_caller("township_station", institution_id="tst-1", areas=(f"{COUNTY}001",))
OTHER_STATION = a_caller("township_station", institution_id="tst-2", areas=(f"{COUNTY}002",))

LOANS = """  maturity_notice:
    lead_months: 2
    to: [township_station]
    to_borrower: true
    channels: [sms, phone]
    at_maturity: true
  notices:
    channels: [sms]
    attempts_max: 2
    texts:
      - {id: due_soon, zh: "{product}{matures_on}到期,应还{owed_yuan}元"}
  overdue_actions: [remind]
  disclosure: {area: village}
  grants:
    - {id: industry_grant, kind: cash, amount_fen: 300000, borrower_classes: [poor_household],
       requires: [self_development], payer: finance_bureau, once: true}
    - {id: premium, kind: premium, share_pct: 60, payer: finance_bureau}
    - {id: training, kind: training, payer: agriculture_bureau}
    - {id: interest, kind: interest, payer: finance_bureau}
    - {id: mystery, kind: cash, amount_fen: {open: not printed}, payer: finance_bureau}
  rewards:
    - {id: good_payer, requires: [repaid_on_time], effects: [honour, higher_limit],
       card: {limit_fen: 300000, discount_pct: 5, venue_kinds: 6}}
  relending:
    limit_fen: 100000000
    rate_ppm: 17500
    sources: [{id: poverty_relending}]
    revolving: true
    supervision: [ledger, visit]
loan_products:
"""

MONITORING = """monitoring:
  early_warnings:
    - {id: coming, of: maturing, lead_days: 10, to: [poverty_office]}
    - {id: matured, of: matured}
    - {id: late, of: overdue}
    - {id: industry_risk, of: industry_risk, raised_by: [agriculture_bureau, forestry_bureau],
       to: [township_station]}
  publications:
    - {id: loans_lent, of: totals, by_platform: true, places: [county_website]}
    - {id: compensated, of: compensations, by_platform: true}
    - {id: refusing_debtors, of: persons, by_platform: false, places: [public_places]}
"""

CONTROL = """  multiple: 10
  payment_control:
    payments: [interest_subsidy]
    public_notice: {platform: internet_supervision, days: 7}
"""

FUNDING = """    funding_sources:
      - {id: own_funds}
      - {id: poverty_relending, max_rate_ppm: 43500}
"""


def a_pack() -> str:
    pack = PACK.replace("  maturity_notice: {lead_months: 2, to: [township_station]}\n", "")
    pack = pack.replace("loan_products:\n", LOANS, 1).replace("monitoring:\n", MONITORING, 1)
    pack = pack.replace("  multiple: 10\n", CONTROL, 1)
    return pack.replace(
        "    interest_settlement: bullet\n", f"    interest_settlement: bullet\n{FUNDING}"
    )


def catalogue() -> Catalogue:
    return a_catalogue(a_pack())


class Desk:
    """All doors of loans; `ask` finds the one that has a method."""

    def __init__(self, db: Any, found: Catalogue) -> None:
        self._doors = [door(db, found) for door, _ in DOORS.values()]

    async def __call__(self, name: str, caller: Caller, **values: Any) -> Any:
        for module in (notices_pb2, entitlements_pb2, relending_pb2):
            request_type: type[Message] | None = getattr(module, f"{name}Request", None)
            if request_type is not None:
                break
        assert request_type is not None
        known = request_type.DESCRIPTOR.fields_by_name
        if "request_id" in known:
            values.setdefault("request_id", steps.an_id())
        if "programme_id" in known:
            values.setdefault("programme_id", PROGRAMME)
        request = request_type(county_code=COUNTY, **values)
        door = next(each for each in self._doors if hasattr(each, name))
        services = request.DESCRIPTOR.file.services_by_name.values()
        (service,) = (each.full_name for each in services if name in each.methods_by_name)
        caller = replace(caller, method=f"/{service}/{name}")
        return await getattr(door, name)(request, calling(caller, request))
