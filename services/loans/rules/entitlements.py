"""Loans: entitlements: what is due by a programme's grants and rewards, and its steps. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Denied, Invalid, NotFound, Refused, Violation, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Borrower, Loan
from services.loans.rules.checks import class_of
from services.loans.rules.lending import LENDER_ROLES, Actor
from services.programmes import rewards
from services.programmes.schema.rewards import Grant, GrantKind, Reward
from services.programmes.schema.values import BorrowerClass, Organ, known
from services.programmes.terms import Terms

DUE, APPROVED, PAID, WITHDRAWN = "due", "approved", "paid", "withdrawn"
STATES = (DUE, APPROVED, PAID, WITHDRAWN)
REWARD = "reward"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody says is due to a household, with evidence."""

    household_id: UUID
    loan_id: UUID | None
    rule_id: str
    met: tuple[str, ...]
    evidence: str
    cost_fen: Fen
    due_on: date


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A grant, a training or a reward that a household is entitled to, and how far it is."""

    entitlement_id: UUID
    household_id: UUID
    loan_id: UUID | None
    area_code: str
    lender_id: str
    rule_version: str
    programme_id: str
    rule_id: str
    kind: str
    payer: str
    amount_fen: Fen
    effects: tuple[str, ...]
    once: bool
    working: str
    due_on: date
    recorded_by: str
    state: str = DUE
    approved_on: date | None = None
    approved_by: str = ""
    paid_on: date | None = None
    paid_by: str = ""
    reference: str = ""
    reason: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One step taken with an entitlement."""

    entitlement_id: UUID
    number: int
    what: str
    on: date
    institution_id: str
    person_id: str
    note: str


def due(
    entitlement_id: UUID,
    wanted: Wanted,
    terms: Terms,
    *,
    borrower: Borrower | None,
    loan: Loan | None,
    had: Collection[str],
    actor: Actor,
    today: date,
) -> Entitlement:
    """What the programme owes a household for what it met; every other answer says why not."""
    if borrower is None:
        raise household_not_found(wanted.household_id)
    if wanted.loan_id is not None and (loan is None or loan.household_id != wanted.household_id):
        raise NotFound("LOAN_NOT_FOUND", f"no loan {wanted.loan_id}", message_zh="无此贷款")
    require_not_ahead("due_on", wanted.due_on, today)
    made = Entitlement(
        entitlement_id=entitlement_id,
        household_id=wanted.household_id,
        loan_id=wanted.loan_id,
        area_code=borrower.area_code,
        lender_id=loan.lender_id if loan is not None else "",
        rule_version=terms.ref,
        programme_id=terms.ref.split("@")[0],
        rule_id=wanted.rule_id,
        kind="",
        payer="",
        amount_fen=Fen(0),
        effects=(),
        once=False,
        working="",
        due_on=wanted.due_on,
        recorded_by=actor.person_id,
    )
    for grant in terms.loans.grants:
        if grant.id == wanted.rule_id:
            return _granted(made, grant, wanted, _class(borrower, loan), had)
    for reward in terms.loans.rewards:
        if reward.id == wanted.rule_id:
            return _rewarded(made, reward, wanted, loan, had)
    rule = f"must be a grant or reward of {terms.ref}"
    raise invalid_field("ENTITLEMENT_UNKNOWN", "rule_id", wanted.rule_id, rule, "方案无此奖补项目")


def _class(borrower: Borrower, loan: Loan | None) -> BorrowerClass | None:
    if loan is not None and loan.borrower_class:
        return BorrowerClass(loan.borrower_class)
    return class_of(borrower)


def _granted(
    made: Entitlement,
    grant: Grant,
    wanted: Wanted,
    borrower_class: BorrowerClass | None,
    had: Collection[str],
) -> Entitlement:
    if grant.kind is GrantKind.INTEREST:
        raise Refused(
            "PAID_WITH_THE_SUBSIDY",
            f"{grant.id} is the product's interest subsidy, which lenders claim",
            message_zh="贷款利息由贴息申请支付",
        )
    if grant.share_pct is not None and not wanted.cost_fen:
        rule = f"{grant.id} pays a share of what was charged"
        raise invalid_field("COST_MISSING", "cost_fen", wanted.cost_fen, rule, "须填写实际费用")
    if borrower_class is None or (
        grant.borrower_classes and borrower_class not in grant.borrower_classes
    ):
        raise Refused(
            "NOT_FOR_THIS_BORROWER",
            f"{grant.id} is for {', '.join(grant.borrower_classes) or 'borrowers'}",
            message_zh="该户不属于补助对象",
        )
    _require_met(grant.requires, wanted.met)
    _require_new(grant.id, had if grant.once else ())
    [found] = rewards.grants_due(
        [grant],
        borrower_class=borrower_class,
        met=wanted.met,
        costs_fen={grant.kind: wanted.cost_fen},
        had=had,
    )
    return replace(
        made,
        kind=grant.kind.value,
        payer=known(grant.payer).value,
        amount_fen=found.amount_fen or Fen(0),
        once=grant.once,
        working=found.working,
    )


def _rewarded(
    made: Entitlement, reward: Reward, wanted: Wanted, loan: Loan | None, had: Collection[str]
) -> Entitlement:
    if loan is None:
        rule = "a reward goes with the loan that earned it"
        raise invalid_field("LOAN_NOT_FOUND", "loan_id", "", rule, "须指明贷款")
    if loan.overdue_days or loan.non_performing_on is not None:
        _not_met(["repaid_on_time"])
    if not rewards.rewards_earned([reward], met=wanted.met):
        _require_met(reward.requires, wanted.met)
    _require_new(reward.id, had)
    card = reward.card
    amount = f"card of {card.limit_fen} fen, {card.discount_pct} % off" if card else "no card"
    return replace(
        made,
        kind=REWARD,
        payer=Organ.LENDER.value,
        effects=(*reward.effects, *(("card",) if card else ())),
        once=True,
        working=f"{', '.join(reward.requires)}: {amount}",
    )


def _require_met(requires: Collection[str], met: Collection[str]) -> None:
    missing = [code for code in requires if code not in met]
    if missing:
        _not_met(missing)


def _not_met(missing: Collection[str]) -> None:
    text = f"not met: {', '.join(missing)}"
    raise Invalid(
        "CONDITIONS_NOT_MET",
        text,
        message_zh="未满足奖补条件",
        violations=[Violation("met", "", f"must hold {code}") for code in missing],
    )


def _require_new(rule_id: str, had: Collection[str]) -> None:
    if rule_id in had:
        raise Refused(
            "ENTITLEMENT_HAD_ALREADY", f"{rule_id} is given once", message_zh="该户已享受该项目"
        )


def require_not_ahead(field: str, day: date, today: date) -> None:
    """Refuse a day that has not come."""
    if day > today:
        rule = f"must not be after the business date {today}"
        raise invalid_field("DATED_AHEAD", field, day, rule, "日期不得晚于业务日期")


# --- steps ----------------------------------------------------------------------------------------


OVERSEERS = frozenset({"county_centre", "poverty_office", "finance_bureau"})
"""They approve and withdraw what others pay, too."""


def require_overseer(found: Entitlement, actor: Actor) -> None:
    """Refuse whoever neither pays it nor watches over the county's money for households."""
    if actor.role not in OVERSEERS:
        require_payer(found, actor)


def approve(
    held: Entitlement | None, entitlement_id: UUID, *, actor: Actor, today: date
) -> Entitlement:
    """A second person says yes: of the payer, or of those who watch over it."""
    found = require(held, entitlement_id, DUE)
    require_overseer(found, actor)
    if actor.person_id == found.recorded_by:
        _same("who recorded it does not approve it")
    return replace(
        found,
        state=APPROVED,
        approved_on=today,
        approved_by=actor.person_id,
        version=found.version + 1,
    )


def pay(
    held: Entitlement | None,
    entitlement_id: UUID,
    *,
    reference: str,
    paid_on: date,
    actor: Actor,
    today: date,
) -> Entitlement:
    """The payer notes that it paid or gave it; who approved does not."""
    found = require(held, entitlement_id, APPROVED)
    require_payer(found, actor)
    if actor.person_id == found.approved_by:
        _same("who approved it does not pay it")
    require_not_ahead("paid_on", paid_on, today)
    assert found.approved_on is not None
    if paid_on < found.approved_on:
        rule = f"must not be before its approval on {found.approved_on}"
        raise invalid_field("PAID_BEFORE_APPROVED", "paid_on", paid_on, rule)
    return replace(
        found,
        state=PAID,
        paid_on=paid_on,
        paid_by=actor.person_id,
        reference=reference,
        version=found.version + 1,
    )


def require_payer(found: Entitlement, actor: Actor) -> None:
    """Refuse anybody but the payer: the organ, and of a reward the loan's own lender."""
    if found.payer == Organ.LENDER:
        own_loan = not found.lender_id or actor.institution_id == found.lender_id
        fits = actor.role in LENDER_ROLES and own_loan
    else:
        fits = actor.role == found.payer
    if not fits:
        raise Denied("NOT_THE_PAYER", f"{found.payer} pays this", message_zh="本机构非支付单位")


def withdraw(
    held: Entitlement | None, entitlement_id: UUID, *, reason: str, actor: Actor
) -> Entitlement:
    """Take back what was not paid."""
    found = require(held, entitlement_id, DUE, APPROVED)
    require_overseer(found, actor)
    return replace(found, state=WITHDRAWN, reason=reason, version=found.version + 1)


def require(held: Entitlement | None, entitlement_id: UUID, *states: str) -> Entitlement:
    """One that is there and in one of these states."""
    if held is None:
        raise NotFound(
            "ENTITLEMENT_NOT_FOUND", f"no entitlement {entitlement_id}", message_zh="无此奖补"
        )
    if held.state not in states:
        raise Refused(
            "ENTITLEMENT_STATE", f"the entitlement is {held.state}", message_zh="奖补状态不符"
        )
    return held


def _same(text: str) -> None:
    raise Refused("SAME_PERSON", text, message_zh="经办与复核不得为同一人")


def household_not_found(household_id: UUID) -> NotFound:
    """The same answer for a household that is not there and one of another's area."""
    return NotFound("HOUSEHOLD_NOT_FOUND", f"no household {household_id}", message_zh="无此农户")
