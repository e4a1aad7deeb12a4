"""Self-service: a household's own file, composed of what the services answer about it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.message import Message
from liandong.claims.v1 import claims_pb2, policies_pb2
from liandong.credit.v1 import limits_pb2
from liandong.gateway.v1 import self_pb2 as pb
from liandong.households.v1 import facts_pb2, households_pb2
from liandong.loans.v1 import entitlements_pb2, loans_pb2, reports_pb2

from gateway.documents.servicer import Asked
from gateway.documents.words import enum_name

LOANS_MAX: Final = 200
ENTITLEMENTS_MAX: Final = 200
CLAIMS_MAX: Final = 100
FACTS_MAX: Final = 200
DISPUTES_MAX: Final = 100

NOT_OFFERED: Final = "SELF_SERVICE_NOT_OFFERED"
NOT_OFFERED_ZH: Final = "该方案未开通农户自助查询"

Offers = Callable[[str], bool]


async def listed(
    asked: Asked, method: str, request: Any, answer: type[Message], *, name: str, most: int
) -> tuple[list[Any], bool]:
    """The first items of a list, and whether there are more."""
    request.page_size = most
    found: Any = await asked.ask(method, request, answer)
    return list(getattr(found, name)), bool(found.next_page_token)


async def loans_of(
    asked: Asked, county_code: str, household_id: str
) -> tuple[list[loans_pb2.Loan], bool]:
    """A household's loans and applications."""
    request = loans_pb2.ListLoansRequest(county_code=county_code, household_id=household_id)
    method = "liandong.loans.v1.LoansService/ListLoans"
    return await listed(
        asked, method, request, loans_pb2.ListLoansResponse, name="loans", most=LOANS_MAX
    )


async def claims_of(
    asked: Asked, county_code: str, household_id: str
) -> tuple[list[claims_pb2.Claim], bool]:
    """A household's claims."""
    request = claims_pb2.ListClaimsRequest(county_code=county_code, household_id=household_id)
    method = "liandong.claims.v1.ClaimsService/ListClaims"
    return await listed(
        asked, method, request, claims_pb2.ListClaimsResponse, name="claims", most=CLAIMS_MAX
    )


async def belonging(asked: Asked, county_code: str, household_id: str) -> list[str]:
    """What belongs to a household as the access log names it."""
    loans, _ = await loans_of(asked, county_code, household_id)
    claims, _ = await claims_of(asked, county_code, household_id)
    return [
        *(f"loan:{each.loan_id}" for each in loans),
        *(f"claim:{each.claim_id}" for each in claims),
        *(f"payout:{each.payout_id}" for each in claims if each.payout_id),
    ]


class _Shown:
    """Sorts out what a programme does not let people look up, and counts it."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._withheld: Counter[tuple[str, str]] = Counter()

    def may(self, what: str, programme: str) -> bool:
        """Whether one thing under a programme is shown; what is under none is."""
        if not programme or self._offers(programme):
            return True
        self._withheld[what, programme] += 1
        return False

    def withheld(self) -> list[pb.Withheld]:
        """What was not shown."""
        return [
            pb.Withheld(
                what=what,
                programme=programme,
                count=count,
                reason=NOT_OFFERED,
                reason_zh=NOT_OFFERED_ZH,
            )
            for (what, programme), count in sorted(self._withheld.items())
        ]


async def collect(
    asked: Asked,
    household: households_pb2.Household,
    statement: reports_pb2.GetHouseholdStatementResponse,
    *,
    offers: Offers,
    names: Mapping[str, str],
) -> pb.GetMyFileResponse:
    """The whole file; each part as its programme lets people see it."""
    county_code, household_id = household.county_code, household.household_id
    shown = _Shown(offers)
    file = pb.GetMyFileResponse(
        household_id=household_id,
        household_number=household.household_number,
        area_code=household.area_code,
        as_of=statement.as_of,
    )
    await _credit(file, asked, county_code, shown)
    loans, cut_loans = await loans_of(asked, county_code, household_id)
    programme_of = {each.loan_id: each.programme for each in loans}
    file.loans.extend(_loan(each, names) for each in loans if shown.may("loan", each.programme))
    cut_grants = await _subsidies(file, asked, statement, programme_of, shown)
    await _policies(file, asked, county_code, shown)
    cut_claims = await _claims(file, asked, county_code, shown)
    cut_record = await _record(file, asked, county_code)
    file.withheld.extend(shown.withheld())
    file.cut = cut_loans or cut_grants or cut_claims or cut_record
    return file


async def _credit(
    file: pb.GetMyFileResponse, asked: Asked, county_code: str, shown: _Shown
) -> None:
    report = await asked.ask(
        "liandong.credit.v1.CreditService/GetCreditReport",
        limits_pb2.GetCreditReportRequest(county_code=county_code, household_id=file.household_id),
        limits_pb2.GetCreditReportResponse,
    )
    rating, limit = report.rating, report.limit
    if not report.HasField("rating") or not shown.may("credit", rating.programme):
        return
    file.credit.CopyFrom(
        pb.MyCredit(
            grade=rating.grade,
            index_centi=report.index_centi,
            granted_fen=limit.granted_fen,
            free_fen=limit.free_fen,
            valid_until=limit.valid_until if limit.HasField("valid_until") else None,
            words_zh=report.words_zh,
            words=report.words,
            rating_id=rating.rating_id,
            programme=rating.programme,
        )
    )


def _loan(loan: loans_pb2.Loan, names: Mapping[str, str]) -> pb.MyLoan:
    return pb.MyLoan(
        loan_id=loan.loan_id,
        lender_id=loan.lender_id,
        lender_zh=names.get(loan.lender_id, ""),
        programme=loan.programme,
        product_id=loan.product_id,
        state=enum_name(loans_pb2.LoanState.DESCRIPTOR, "LOAN_STATE_", loan.state),
        principal_fen=loan.principal_fen,
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.interest_fen,
        rate_ppm=loan.rate_ppm,
        disbursed_on=loan.disbursed_on if loan.HasField("disbursed_on") else None,
        matures_on=loan.matures_on if loan.HasField("matures_on") else None,
        next_due_on=loan.next_due_on if loan.HasField("next_due_on") else None,
        overdue_days=loan.overdue_days,
    )


async def _subsidies(
    file: pb.GetMyFileResponse,
    asked: Asked,
    statement: reports_pb2.GetHouseholdStatementResponse,
    programme_of: Mapping[str, str],
    shown: _Shown,
) -> bool:
    """Interest that the treasury bears, loan by loan, and what else the household is given."""
    for each in statement.loans:
        sums = each.figures
        if sums.subsidy_fen and shown.may("subsidy", programme_of.get(each.loan_id, "")):
            file.subsidies.add(
                kind="interest",
                loan_id=each.loan_id,
                payer="finance_bureau",
                amount_fen=sums.subsidy_fen,
                paid_fen=sums.subsidy_paid_fen,
            )
    request = entitlements_pb2.ListEntitlementsRequest(
        county_code=file.area_code[:6], household_id=file.household_id
    )
    method = "liandong.loans.v1.EntitlementsService/ListEntitlements"
    answer = entitlements_pb2.ListEntitlementsResponse
    found, cut = await listed(
        asked, method, request, answer, name="entitlements", most=ENTITLEMENTS_MAX
    )
    states = entitlements_pb2.EntitlementState.DESCRIPTOR
    for one in found:
        if not shown.may("subsidy", one.rule_version):
            continue
        paid = one.state == entitlements_pb2.ENTITLEMENT_STATE_PAID
        file.subsidies.add(
            kind=one.kind,
            loan_id=one.loan_id,
            payer=one.payer,
            amount_fen=one.amount_fen,
            paid_fen=one.amount_fen if paid else 0,
            state=enum_name(states, "ENTITLEMENT_STATE_", one.state),
        )
        if paid and one.amount_fen:
            file.payments.add(
                kind=one.kind,
                of_id=one.entitlement_id,
                amount_fen=one.amount_fen,
                household_fen=one.amount_fen,
                state="paid",
                on=one.paid_on if one.HasField("paid_on") else None,
            )
    return cut


async def _policies(
    file: pb.GetMyFileResponse, asked: Asked, county_code: str, shown: _Shown
) -> None:
    answer = await asked.ask(
        "liandong.claims.v1.PoliciesService/GetCertificate",
        policies_pb2.GetCertificateRequest(county_code=county_code, household_id=file.household_id),
        policies_pb2.GetCertificateResponse,
    )
    for line in answer.lines:
        if shown.may("policy", line.programme):
            file.policies.add(
                policy_id=line.policy_id,
                insurer_id=line.insurer_id,
                title_zh=line.title_zh,
                sum_insured_fen=line.sum_insured_fen,
                from_date=line.from_date if line.HasField("from_date") else None,
                until_date=line.until_date if line.HasField("until_date") else None,
                premium_fen=line.premium_fen,
                payees_first=line.payees_first,
                programme=line.programme,
            )


async def _claims(
    file: pb.GetMyFileResponse, asked: Asked, county_code: str, shown: _Shown
) -> bool:
    claims, cut = await claims_of(asked, county_code, file.household_id)
    states = claims_pb2.ClaimState.DESCRIPTOR
    for one in claims:
        if not shown.may("claim", one.programme):
            continue
        file.claims.add(
            claim_id=one.claim_id,
            insurer_id=one.insurer_id,
            loss_date=one.loss_date if one.HasField("loss_date") else None,
            cause=one.cause,
            claimed_fen=one.claimed_fen,
            payable_fen=one.payable_fen,
            state=enum_name(states, "CLAIM_STATE_", one.state),
            reason=one.reason,
            programme=one.programme,
        )
        if one.payout_id:
            file.payments.append(await _payment(asked, county_code, one.payout_id))
    return cut


async def _payment(asked: Asked, county_code: str, payout_id: str) -> pb.MyPayment:
    answer = await asked.ask(
        "liandong.claims.v1.ClaimsService/GetPayout",
        claims_pb2.GetPayoutRequest(county_code=county_code, payout_id=payout_id),
        claims_pb2.GetPayoutResponse,
    )
    payout = answer.payout
    return pb.MyPayment(
        kind="payout",
        of_id=payout.claim_id,
        amount_fen=payout.amount_fen,
        lenders_fen=payout.lenders_fen,
        household_fen=payout.household_fen,
        state=enum_name(claims_pb2.PayoutState.DESCRIPTOR, "PAYOUT_STATE_", payout.state),
        on=payout.value_date if payout.HasField("value_date") else None,
    )


async def _record(file: pb.GetMyFileResponse, asked: Asked, county_code: str) -> bool:
    """What is recorded about the household, and what it contests of that."""
    facts, more_facts = await listed(
        asked,
        "liandong.households.v1.FactsService/ListFacts",
        facts_pb2.ListFactsRequest(county_code=county_code, household_id=file.household_id),
        facts_pb2.ListFactsResponse,
        name="facts",
        most=FACTS_MAX,
    )
    disputes, more_disputes = await listed(
        asked,
        "liandong.households.v1.FactsService/ListDisputes",
        facts_pb2.ListDisputesRequest(
            county_code=county_code, household_id=file.household_id, answered=True
        ),
        facts_pb2.ListDisputesResponse,
        name="disputes",
        most=DISPUTES_MAX,
    )
    file.facts.extend(facts)
    file.disputes.extend(disputes)
    return more_facts or more_disputes
