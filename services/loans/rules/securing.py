"""Loans: what secures a loan: worth, source, yield, refund. Pure decisions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Collateral, Loan, LoanState
from services.loans.rules.standing import OPEN_STATES
from services.programmes import calendars, pledges
from services.programmes.schema.pledges import AdvancePledge, DepositPledge, Security
from services.programmes.schema.values import Every, Open, OrOpen

NOTHING = Fen(0)
WHOLE_PCT = 100

MONTHS_BETWEEN: dict[Every, int] = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Offered:
    """What somebody offers as collateral."""

    pledge_id: str
    asset: str
    units: int
    unit_value_fen: Fen
    source: str
    evidence: str
    keeper_id: str


def register(
    loan: Loan,
    security: Security,
    offered: Offered,
    *,
    parties: Mapping[str, Sequence[str]],
    collateral_id: UUID,
    today: date,
) -> Collateral:
    """Take collateral for a loan that is asked for, approved or owed, by its product's clause."""
    if loan.state not in OPEN_STATES:
        raise Refused("LOAN_NOT_OPEN", f"the loan is {loan.state}", message_zh="贷款已了结")
    if security.collateral == "none":
        raise Refused(
            "COLLATERAL_NOT_ALLOWED", "the product asks for none", message_zh="本产品免抵押"
        )
    if not offered.pledge_id:
        require_source(None, offered.source)
        more_than = security.cover.more_than_pct if security.cover else WHOLE_PCT
        worth = Fen(offered.units * offered.unit_value_fen)
        check = pledges.collateral_cover(
            _to_secure(loan), collateral_value_fen=worth, more_than_pct=more_than
        )
        if not check.accepted:
            raise Refused(
                "COLLATERAL_TOO_LOW",
                check.working,
                message_zh="抵押物价值须高于贷款金额",
                facts={"value_fen": str(worth), "loan_fen": str(_to_secure(loan))},
            )
    found = Collateral(
        collateral_id=collateral_id,
        loan_id=loan.loan_id,
        lender_id=loan.lender_id,
        area_code=loan.area_code,
        pledge_id=offered.pledge_id,
        asset=offered.asset,
        units=offered.units,
        unit_value_fen=offered.unit_value_fen,
        value_fen=NOTHING,
        secures_fen=NOTHING,
        source=offered.source,
        evidence=offered.evidence,
        valued_on=today,
        revalue_by=None,
        keeper_id=offered.keeper_id,
        registered_on=today,
    )
    pledge = pledge_of(security, found)
    _check_asset(pledge, offered, parties)
    return value(
        found,
        security,
        units=offered.units,
        unit_value_fen=offered.unit_value_fen,
        source=offered.source,
        today=today,
    )


def _to_secure(loan: Loan) -> Fen:
    return loan.principal_fen if loan.disbursed_on is None else loan.outstanding_fen


def pledge_of(security: Security, held: Collateral) -> AdvancePledge | DepositPledge | None:
    """The clause under which something is pledged; None: assets worth more than the loan."""
    if not held.pledge_id:
        return None
    for pledge in security.pledges:
        if pledge.id == held.pledge_id:
            return pledge
    raise Refused(
        "PLEDGE_UNKNOWN",
        f"the product has no pledge {held.pledge_id}",
        message_zh="产品未规定该质押方式",
    )


def _check_asset(
    pledge: AdvancePledge | DepositPledge | None,
    offered: Offered,
    parties: Mapping[str, Sequence[str]],
) -> None:
    if pledge is None:
        return
    assets = pledge.assets if isinstance(pledge, AdvancePledge) else (pledge.asset,)
    if offered.asset not in assets:
        raise Refused(
            "ASSET_NOT_ALLOWED",
            f"{offered.asset} is none of {', '.join(assets)}",
            message_zh="资产种类不符合规定",
            facts={"allowed": ", ".join(assets)},
        )
    if isinstance(pledge, DepositPledge) and not offered.keeper_id:
        raise Refused("KEEPER_MISSING", "deposited assets have a keeper", message_zh="须指明托管方")
    if isinstance(pledge, DepositPledge) and offered.keeper_id not in parties.get(
        pledge.keeper, (offered.keeper_id,)
    ):
        raise Refused(
            "KEEPER_NOT_A_PARTY",
            f"{offered.keeper_id} is not the programme's {pledge.keeper}",
            message_zh="托管方不是方案参与机构",
            facts={"party": pledge.keeper},
        )


def require_source(named: OrOpen[str] | None, source: str) -> None:
    """A value comes from a source; from the programme's own where it names one (S49)."""
    if named is None or isinstance(named, Open):
        return
    if source != named:
        raise Refused(
            "PRICE_SOURCE_NOT_NAMED",
            f"values come from {named}, not {source}",
            message_zh="估值来源不符合规定",
            facts={"price_source": named},
        )


def value(
    held: Collateral,
    security: Security,
    *,
    units: int,
    unit_value_fen: Fen,
    source: str,
    today: date,
) -> Collateral:
    """Value something anew: what it is worth, what it secures, what it bears."""
    pledge = pledge_of(security, held)
    worth, secures, bears = Fen(units * unit_value_fen), NOTHING, NOTHING
    every: Every | None = None
    if pledge is None:
        more_than = security.cover.more_than_pct if security.cover else WHOLE_PCT
        # Strictly more than its part of the loan: one fen of it secures nothing (S01).
        secures = Fen(max(0, worth * WHOLE_PCT - 1) // more_than)
    else:
        require_source(pledge.price_source, source)
        every = pledge.revalued_every
        if isinstance(pledge, AdvancePledge):
            limit = pledges.collateral_limit_of(pledge, units, unit_value_fen=unit_value_fen)
            worth, secures = limit.collateral_value_fen, limit.limit_fen
        else:
            deposit = pledges.asset_deposit_of(pledge, units, unit_price_fen=unit_value_fen)
            secures = deposit.pledge_loan_fen
            bears = Fen(units * deposit.interest_per_unit_month_fen)
    months = MONTHS_BETWEEN.get(every) if every is not None else None
    return replace(
        held,
        units=units,
        unit_value_fen=unit_value_fen,
        value_fen=worth,
        secures_fen=secures,
        source=source,
        valued_on=today,
        revalue_by=None if months is None else calendars.add_months(today, months),
        month_yield_fen=bears,
    )


def require_held(held: Collateral) -> None:
    """Refuse what was released."""
    if held.released_on is not None:
        raise Refused(
            "COLLATERAL_RELEASED", f"released on {held.released_on}", message_zh="抵押物已解押"
        )


def enough(loan: Loan, held: Sequence[Collateral]) -> bool:
    """Whether what secures a loan reaches what is owed, or will be once it is paid out."""
    return sum(each.secures_fen for each in held) >= _to_secure(loan)


def require_secured(loan: Loan, security: Security, held: Sequence[Collateral]) -> None:
    """Refuse to pay out while required collateral does not reach the loan."""
    if security.collateral == "required" and not enough(loan, held):
        secured = sum(each.secures_fen for each in held)
        raise Refused(
            "COLLATERAL_MISSING",
            f"collateral secures {secured} of {loan.principal_fen} fen",
            message_zh="抵质押物不足",
            facts={"secures_fen": str(secured), "principal_fen": str(loan.principal_fen)},
        )


def refund(
    loan: Loan, security: Security, held: Collateral, *, sold_on: date, proofs: Collection[str]
) -> Fen:
    """The loan's interest that the keeper pays back on a proven sale, with no arrears (S49)."""
    pledge = pledge_of(security, held)
    if held.refunded_fen:
        raise Refused("REFUND_USED", "it was refunded before", message_zh="利息已返还")
    clause = pledge.refund if isinstance(pledge, DepositPledge) else None
    assert loan.disbursed_on is not None
    proven = set(proofs) - {"no_arrears"}
    if loan.overdue_days == 0 and loan.non_performing_on is None:
        proven.add("no_arrears")
    found = pledges.interest_refund(
        clause,
        loan.principal_fen,
        loan_rate_ppm=loan.rate_ppm,
        months=_months(loan.disbursed_on, sold_on),
        sold_to_keeper=True,
        held=frozenset(proven),
    )
    if not found.refund_fen:
        raise Refused(
            "REFUND_NOT_DUE",
            found.working,
            message_zh="不符合利息返还条件",
            facts={"missing": ", ".join(found.missing)},
        )
    return found.refund_fen


def _months(start: date, end: date) -> int:
    """Whole months that have passed."""
    months = (end.year - start.year) * 12 + end.month - start.month
    return months if calendars.add_months(start, months) <= end else months - 1


def require_closed(loan: Loan) -> None:
    """Refuse to release what still secures something."""
    if loan.state not in (LoanState.SETTLED, LoanState.REFUSED):
        raise Refused(
            "LOAN_NOT_SETTLED",
            f"{loan.owed_fen} fen are owed, the loan is {loan.state}",
            message_zh="贷款未结清,不得解押",
            facts={"owed_fen": str(loan.owed_fen)},
        )
