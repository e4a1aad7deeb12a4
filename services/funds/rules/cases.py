"""Funds: when a loss may be claimed, who bears it, and to whom later money belongs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from services.funds.model import (
    Amounts,
    Arrears,
    Case,
    CaseFile,
    CaseState,
    Cover,
    CoverState,
    Decision,
    Filing,
    Fund,
    FundState,
    Part,
)
from services.funds.rules.accounts import pay_out, reach
from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.money import Fen
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.values import known
from services.programmes.waterfall import Allocation, share_loss_by, share_recovery

REST_LAYER = "rest"

LENDER = "bank"
"""In the layers of every programme this party is the loan's own lender, whatever it is."""


@dataclass(frozen=True, slots=True)
class Compensation:
    """A loss that was shared: the case, its parts, and the funds as they are after paying."""

    case_file: CaseFile
    funds: tuple[Fund, ...]
    suspended: tuple[Fund, ...]
    """Those of them that were short with this case."""


@dataclass(frozen=True, slots=True)
class Back:
    """A recovered amount by party."""

    shares: tuple[tuple[int, Fen], ...]
    household_fen: Fen
    parts: tuple[Part, ...]


def owed_now(arrears: Arrears) -> Amounts:
    """What is known to be owed: the last statement less what was paid since."""
    return Amounts(
        Fen(max(0, arrears.stated.principal_fen - arrears.paid_since.principal_fen)),
        Fen(max(0, arrears.stated.interest_fen - arrears.paid_since.interest_fen)),
    )


def check_covered(cover: Cover | None, loan_id: UUID) -> Cover:
    """A loan that a fund stands behind; refused for any other."""
    if cover is None or cover.state is not CoverState.RESERVED:
        raise Refused(
            "LOAN_NOT_COVERED",
            f"no fund stands behind loan {loan_id}",
            message_zh="该贷款未获基金担保",
        )
    return cover


def check_lender(cover: Cover | None, lender_id: str) -> None:
    """Only the lender of a loan may file its loss."""
    if cover is not None and cover.lender_id != lender_id:
        raise Denied(
            "NOT_THE_LENDER",
            f"{lender_id} is not the lender of loan {cover.loan_id}",
            message_zh="非本机构贷款",
        )


def check_trigger(model: SharingModel, arrears: Arrears | None) -> None:
    """Overdue for strictly more days than the programme says (LS18.fun.1, S01)."""
    limit = known(model.trigger).overdue_more_than_days
    days = 0 if arrears is None else arrears.overdue_days
    if days <= limit:
        raise Refused(
            "TRIGGER_NOT_PASSED",
            f"{days} days overdue, a case needs more than {limit}",
            message_zh=f"逾期{days}天,须超过{limit}天方可申请代偿",
            facts={"overdue_days": str(days), "limit_days": str(limit)},
        )


def check_cause(model: SharingModel, cause: str) -> None:
    """A cause that the programme covers; no list covers every cause."""
    if model.covered_causes is not None and cause not in model.covered_causes:
        raise Refused(
            "CAUSE_NOT_COVERED",
            f"{cause} is none of {', '.join(model.covered_causes)}",
            message_zh="该损失原因不在补偿范围",
            facts={"cause": cause},
        )


def file_case(
    filing: Filing,
    cover: Cover | None,
    arrears: Arrears | None,
    *,
    model: SharingModel | None,
    has_case: bool,
    lender_id: str,
    case_id: UUID,
    person_id: str,
    today: date,
) -> Case:
    """Open a case; the loss is what is known to be owed today (S22)."""
    check_lender(cover, lender_id)
    if has_case:
        raise Refused(
            "CASE_EXISTS",
            f"loan {filing.loan_id} has a case already",
            message_zh="该贷款已有代偿案件",
        )
    cover = check_covered(cover, filing.loan_id)
    assert model is not None, "a covered loan has a way of sharing its loss"
    check_trigger(model, arrears)
    check_cause(model, filing.cause)
    assert arrears is not None
    owed = owed_now(arrears)
    base = known(model.base)
    loss = owed.principal_fen if base == "principal" else owed.total_fen
    if loss == 0:
        raise Refused("NOTHING_OWED", f"loan {filing.loan_id} is paid", message_zh="该贷款已无欠款")
    return Case(
        county_code=cover.county_code,
        case_id=case_id,
        loan_id=cover.loan_id,
        lender_id=cover.lender_id,
        state=CaseState.FILED,
        loss_fen=loss,
        cause=filing.cause,
        evidence=filing.evidence,
        programme=cover.programme,
        model_id=model.id,
        overdue_days=arrears.overdue_days,
        stated_on=arrears.stated_on,
        paid_counted_fen=_counted(arrears.paid_since, base),
        filed_by=person_id,
        filed_on=today,
        decided_by="",
        decided_on=None,
        reason="",
        working="",
        version=0,
    )


def _counted(paid: Amounts, base: str) -> Fen:
    return paid.principal_fen if base == "principal" else paid.total_fen


def check_decision(case: Case, decision: Decision, person_id: str) -> None:
    """An open case, another person than the one who filed it, and a reason for a no (S52)."""
    if case.state is not CaseState.FILED:
        raise Refused(
            "CASE_NOT_OPEN", f"case {case.case_id} is {case.state}", message_zh="案件已处理"
        )
    if case.filed_by == person_id:
        raise Refused(
            "SAME_PERSON",
            "the person who filed a case cannot decide it",
            message_zh="经办人与审批人须为不同人员",
        )
    if not decision.approve and not decision.reason.strip():
        raise invalid_field("REASON_NEEDED", "reason", decision.reason, "say why it is denied")


def deny(case: Case, decision: Decision, *, person_id: str, today: date) -> CaseFile:
    """Close a case without paying."""
    denied = replace(
        case,
        state=CaseState.DENIED,
        decided_by=person_id,
        decided_on=today,
        reason=decision.reason,
    )
    return CaseFile(denied, ())


def loss_now(case: Case, model: SharingModel, paid_since: Amounts) -> Fen:
    """The loss of the filing day less what was paid after it; later interest never counts (S22)."""
    later = _counted(paid_since, known(model.base)) - case.paid_counted_fen
    loss = Fen(max(0, min(case.loss_fen, case.loss_fen - later)))
    if loss == 0:
        raise Refused("NOTHING_OWED", f"loan {case.loan_id} is paid", message_zh="该贷款已无欠款")
    return loss


def compensate(
    case: Case,
    *,
    model: SharingModel,
    paid_since: Amounts,
    funds: Sequence[Fund],
    parties: Mapping[str, Sequence[str]],
    reason: str,
    person_id: str,
    today: date,
) -> Compensation:
    """
    Share a loss by the programme's waterfall.

    Pots and then shares; a fund pays what it holds and owes the rest (S20); institutions owe their
    parts; the lender's own part is its own loss. The parts sum to the loss.
    """
    loss = loss_now(case, model, paid_since)
    by_kind = {fund.kind: fund for fund in funds}
    balances = {kind: reach(fund, case.lender_id) for kind, fund in by_kind.items()}
    shared = share_loss_by(model, loss, balances_fen=balances, cause=case.cause)
    lines = list(shared.allocations)
    if shared.uncovered_fen:
        lines.append(Allocation(REST_LAYER, model.otherwise_borne_by, shared.uncovered_fen))
    parts: list[Part] = []
    short: dict[str, Fund] = {}
    for position, line in enumerate(lines):
        part, fund = _bear(case, position, line, by_kind.get(line.party), parties)
        parts.append(part)
        if fund is not None:
            if by_kind[line.party].state is FundState.OPEN and fund.state is FundState.SUSPENDED:
                short[line.party] = fund
            by_kind[line.party] = fund
    assert sum(part.amount_fen for part in parts) == loss
    paid = replace(
        case,
        state=CaseState.PAID,
        loss_fen=loss,
        decided_by=person_id,
        decided_on=today,
        reason=reason,
        working=shared.working,
        version=case.version + 1,
    )
    suspended = tuple(by_kind[kind] for kind in short)
    return Compensation(CaseFile(paid, tuple(parts)), tuple(by_kind.values()), suspended)


def _bear(
    case: Case,
    position: int,
    line: Allocation,
    fund: Fund | None,
    parties: Mapping[str, Sequence[str]],
) -> tuple[Part, Fund | None]:
    """One line of the waterfall: the lender itself, a fund, or an institution that will owe it."""
    named = tuple(parties.get(line.party, ()))
    own_loss = fund is None and (line.party == LENDER or case.lender_id in named)
    part = Part(
        county_code=case.county_code,
        case_id=case.case_id,
        position=position,
        layer=line.layer,
        party=line.party,
        institution_id=case.lender_id if own_loss else (named[0] if named else ""),
        fund_id=fund.fund_id if fund else None,
        own_loss=own_loss,
        amount_fen=line.amount_fen,
        paid_fen=line.amount_fen if own_loss else Fen(0),
        recovered_fen=Fen(0),
    )
    if fund is None:
        if not part.institution_id:
            raise Refused(
                "PARTY_NOT_NAMED",
                f"the county's adoption names nobody as {line.party}",
                message_zh="该县未指定分担方",
                facts={"party": line.party},
            )
        return part, None
    pays = Fen(min(reach(fund, case.lender_id), line.amount_fen))
    owed = Fen(fund.owed_fen + line.amount_fen - pays)
    after = replace(
        pay_out(fund, pays, case.lender_id),
        owed_fen=owed,
        state=FundState.SUSPENDED if owed else fund.state,
        version=fund.version + (1 if owed and fund.state is FundState.OPEN else 0),
    )
    return replace(part, paid_fen=pays, institution_id=fund.institution_id), after


def share_back(parts: Sequence[Part], recovered_fen: Fen) -> Back:
    """
    Give recovered money to those who bore the loss, in proportion, up to what each bore (S21).

    A part that is still owed counts as borne: its debtor owes it whatever comes back.
    """
    paid = [(str(part.position), Fen(part.amount_fen - part.recovered_fen)) for part in parts]
    shared = share_recovery(recovered_fen, costs_fen=Fen(0), paid=paid)
    after = []
    shares = []
    for part in parts:
        amount = shared.amounts_fen[str(part.position)]
        after.append(replace(part, recovered_fen=Fen(part.recovered_fen + amount)))
        if amount:
            shares.append((part.position, amount))
    return Back(tuple(shares), shared.to_household_fen, tuple(after))
