"""Funds: when a loss may be claimed, who bears it, and to whom later money belongs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    Insured,
    Part,
)
from services.funds.rules.accounts import pay_out, reach
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.bulletins import on_risk_list
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.reports import RiskList
from services.programmes.schema.upkeep import CaseDeadlines
from services.programmes.schema.values import known
from services.programmes.waterfall import (
    Allocation,
    case_open,
    share_loss_by,
    share_recovery,
    unproven,
)

REST_LAYER = "rest"
_NOTHING = Fen(0)

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
        raise _not_covered(loan_id)
    return cover


def _not_covered(loan_id: UUID) -> Refused:
    return Refused(
        "LOAN_NOT_COVERED",
        f"no fund stands behind loan {loan_id}",
        message_zh="该贷款未获基金担保",
    )


def check_lender(cover: Cover | None, lender_id: str) -> None:
    """Only the lender of a loan may file its loss; to another it is as good as not covered."""
    if cover is not None and cover.lender_id != lender_id:
        raise _not_covered(cover.loan_id)


def check_case_lender(case: Case, lender_id: str) -> None:
    """Only the lender of a case's loan; to another it is as good as none."""
    if case.lender_id != lender_id:
        raise NotFound("CASE_NOT_FOUND", f"no case {case.case_id}", message_zh="无此案件")


def check_trigger(
    model: SharingModel, arrears: Arrears | None, risk_list: RiskList | None = None
) -> None:
    """Overdue for longer than the programme says (strict, LS18.fun.1), or standing so (C21)."""
    trigger = known(model.trigger)
    limit = trigger.overdue_more_than_days
    days = 0 if arrears is None else arrears.overdue_days
    bad = arrears is not None and arrears.non_performing
    listed = (
        arrears is not None
        and risk_list is not None
        and arrears.five_tier_class != ""
        and on_risk_list(risk_list, FiveTier(arrears.five_tier_class))
    )
    if case_open(trigger, overdue_days=days, non_performing=bad, on_risk_list=listed):
        return
    needs = [f"more than {limit}"] if limit is not None else []
    needs += ["to be non-performing"] if trigger.non_performing else []
    needs += ["to be on the risk list"] if trigger.risk_list else []
    raise Refused(
        "TRIGGER_NOT_PASSED",
        f"{days} days overdue, a case needs {' or '.join(needs)}",
        message_zh=f"逾期{days}天,须超过{limit}天方可申请代偿"
        if limit is not None
        else "贷款尚未达到代偿条件",
        facts={"overdue_days": str(days)} | ({} if limit is None else {"limit_days": str(limit)}),
    )


def cause_covered(model: SharingModel, cause: str) -> bool:
    """Whether the programme covers a cause; no list covers every cause."""
    return model.covered_causes is None or cause in model.covered_causes


def check_cause(model: SharingModel, cause: str) -> None:
    """Refuse a cause that the programme does not cover, saying who bears the loss (S46)."""
    if not cause_covered(model, cause):
        raise Refused(
            "CAUSE_NOT_COVERED",
            f"{cause} is none of {', '.join(model.covered_causes or ())}",
            message_zh="该损失原因不在补偿范围",
            facts={"cause": cause, "borne_by": model.otherwise_borne_by},
        )


def check_shown(model: SharingModel, shows: Sequence[str]) -> None:
    """What the programme requires beside the cause must be shown."""
    if missing := unproven(model, shows):
        raise Refused(
            "NOT_SHOWN",
            f"the evidence does not show: {', '.join(missing)}",
            message_zh="缺少必要证明",
            facts={"missing": ",".join(missing)},
        )


def check_filed_in_time(
    model: SharingModel, arrears: Arrears, deadlines: CaseDeadlines | None
) -> None:
    """Where the programme sets a term, a case is filed within it after its trigger passed."""
    limit = known(model.trigger).overdue_more_than_days
    within = deadlines.file_within_days if deadlines else None
    if limit is None or within is None:
        return
    late = arrears.overdue_days - limit - 1
    if late > within:
        raise Refused(
            "FILING_TOO_LATE",
            f"a case could have been filed {late} days ago, at most {within} are allowed",
            message_zh="已超过申请代偿期限",
            facts={"days_since": str(late), "within_days": str(within)},
        )


def claimed(filing: Filing, owed_fen: Fen) -> Fen:
    """The loss that a case is about: all that is owed, or the part that is claimed."""
    if owed_fen == 0:
        raise Refused("NOTHING_OWED", f"loan {filing.loan_id} is paid", message_zh="该贷款已无欠款")
    if filing.claimed_fen > owed_fen:
        raise Refused(
            "CLAIM_ABOVE_OWED",
            f"{filing.claimed_fen} fen claimed, {owed_fen} fen are owed",
            message_zh="申请金额超过欠款",
            facts={"claimed_fen": str(filing.claimed_fen), "owed_fen": str(owed_fen)},
        )
    return filing.claimed_fen or owed_fen


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
    risk_list: RiskList | None = None,
    deadlines: CaseDeadlines | None = None,
    due_on: date | None = None,
) -> Case:
    """Open a case; the loss is what is known to be owed today (S22)."""
    check_lender(cover, lender_id)
    if has_case:
        raise Refused(
            "CASE_EXISTS",
            f"loan {filing.loan_id} has a case already",
            message_zh="该贷款已有代偿案件",
            facts={"loan_id": str(filing.loan_id)},
        )
    cover = check_covered(cover, filing.loan_id)
    assert model is not None, "a covered loan has a way of sharing its loss"
    check_trigger(model, arrears, risk_list)
    check_cause(model, filing.cause)
    check_shown(model, filing.shows)
    if arrears is None:
        raise Refused(
            "NOTHING_OWED",
            f"nothing is known to be overdue on loan {filing.loan_id}",
            message_zh="该贷款已无欠款",
        )
    check_filed_in_time(model, arrears, deadlines)
    owed = owed_now(arrears)
    base = known(model.base)
    loss = claimed(filing, owed.principal_fen if base == "principal" else owed.total_fen)
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
        version=1,
        collection_steps=filing.collection_steps,
        shows=filing.shows,
        due_on=due_on,
        otherwise_borne_by=model.otherwise_borne_by,
    )


def _counted(paid: Amounts, base: str) -> Fen:
    return paid.principal_fen if base == "principal" else paid.total_fen


def check_reason(decision: Decision) -> None:
    """A no says why."""
    if not decision.approve and not decision.reason.strip():
        raise invalid_field("REASON_NEEDED", "reason", decision.reason, "say why it is denied")


def deny(case: Case, *, code: str, reason: str, role: str, person_id: str, today: date) -> CaseFile:
    """Close a case without paying."""
    denied = replace(
        case,
        state=CaseState.DENIED,
        code=code,
        decided_by=person_id,
        decided_on=today,
        denied_by_role=role,
        reason=reason,
        due_on=None,
        version=case.version + 1,
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
    insured: Sequence[Insured] = (),
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
    sums = {each.cover_id: each.sum_insured_fen for each in insured}
    # A pot that bears the name of a cover is what the loan's own insurer pays at most (S23).
    pots = {cover_id: fen for cover_id, fen in sums.items() if cover_id in model.pots}
    insurers = {each.cover_id: (each.insurer_id,) for each in insured if each.insurer_id}
    parties = {**parties, **insurers}
    shared = share_loss_by(
        model, loss, balances_fen={**balances, **pots}, cause=case.cause, insured_fen=sums
    )
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
        decided_by=case.decided_by or person_id,
        decided_on=today,
        paid_by=person_id,
        reason=reason,
        due_on=None,
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


def share_back(parts: Sequence[Part], recovered_fen: Fen, *, costs_fen: Fen = _NOTHING) -> Back:
    """
    Give recovered money to those who bore the loss, in proportion, up to what each bore (S21).

    A part that is still owed counts as borne: its debtor owes it whatever comes back.
    """
    paid = [(str(part.position), Fen(part.amount_fen - part.recovered_fen)) for part in parts]
    shared = share_recovery(recovered_fen, costs_fen=costs_fen, paid=paid)
    after = []
    shares = []
    for part in parts:
        amount = shared.amounts_fen[str(part.position)]
        after.append(replace(part, recovered_fen=Fen(part.recovered_fen + amount)))
        if amount:
            shares.append((part.position, amount))
    return Back(tuple(shares), shared.to_household_fen, tuple(after))
