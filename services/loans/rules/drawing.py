"""Loans: draws on revolving limits, batches of controlled loans. Pure decisions."""

from collections.abc import Mapping, Sequence
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Batch, BatchState, Contract, Loan, LoanState
from services.loans.rules.chain import Actor, require_organ
from services.programmes import drawdown, facilities
from services.programmes.drawdown import DrawRequest
from services.programmes.schema.loans import ControlledDrawdown, DrawNeed
from services.programmes.schema.values import Organ
from services.programmes.terms import Terms

BATCHES_MAX = 100
WORDS = {
    "over_limit": ("DRAW_ABOVE_LIMIT", "提款超过可用额度"),
    "expired": ("LIMIT_EXPIRED", "授信额度已过期"),
    "not_yet_granted": ("LIMIT_NOT_YET_GRANTED", "授信额度尚未生效"),
    "no_amount": ("NO_AMOUNT", "提款金额须大于零"),
}


def check_draw(
    loan: Loan, amount_fen: Fen, *, contract: Contract, terms: Terms, today: date
) -> None:
    """Refuse what is no limit, above it, or after its last valid day (S33)."""
    product = terms.product(loan.product_id)
    if loan.revolving_until is None or product.revolving is None:
        raise Refused("NOT_REVOLVING", "the loan is no limit to draw on", message_zh="非循环额度")
    if loan.state not in (LoanState.APPROVED, LoanState.ACTIVE):
        settled = loan.state is LoanState.SETTLED and today > loan.revolving_until
        reason = "LIMIT_EXPIRED" if settled else "LOAN_NOT_APPROVED"
        raise Refused(reason, f"the limit is {loan.state}", message_zh="额度不可用")
    if today > loan.revolving_until:
        raise Refused(
            "LIMIT_EXPIRED",
            f"the limit ended on {loan.revolving_until}",
            message_zh=WORDS["expired"][1],
            facts={"last_valid_on": str(loan.revolving_until)},
        )
    movements = [facilities.Movement("draw", today, amount_fen)]
    if loan.outstanding_fen:
        drawn = facilities.Movement("draw", contract.approved_on, loan.outstanding_fen)
        movements = [drawn, *movements]
    limit = facilities.revolving_of(
        product.revolving, loan.principal_fen, granted_on=contract.approved_on, movements=movements
    )
    moved = limit.results[-1]
    if moved.reason is not None:
        reason, zh = WORDS[moved.reason]
        raise Refused(
            reason,
            f"{amount_fen} fen asked for, {moved.available_fen} of {loan.principal_fen} fen are "
            f"free through {limit.last_valid_on}",
            message_zh=zh,
            facts={
                "available_fen": str(moved.available_fen),
                "limit_fen": str(loan.principal_fen),
                "last_valid_on": str(limit.last_valid_on),
            },
        )


def check_identity(loan: Loan, proof: str, *, channel: str, terms: Terms) -> None:
    """Refuse a draw without a counter whose borrower did not prove who draws (TX.loa.5)."""
    rule = terms.product(loan.product_id).self_service
    if channel != "online":
        return
    wanted = rule.identity_proof if rule else ""
    if (wanted and proof != wanted) or not proof:
        raise Refused(
            "IDENTITY_NOT_PROVEN",
            f"{proof or 'nothing'} given, {wanted or 'a proof'} asked for",
            message_zh="身份验证未通过",
            facts={"identity_proof": wanted},
        )


def control(loan: Loan, terms: Terms) -> ControlledDrawdown:
    """The clause that controls a loan's batches, or a refusal."""
    clause = terms.loans.controlled_drawdown
    if clause is None or not drawdown.is_controlled(clause, loan.principal_fen, loan.product_id):
        raise Refused(
            "NOT_CONTROLLED", "the loan is paid out at once", message_zh="该贷款无须受控支用"
        )
    return clause


def request(loan: Loan, batch: Batch, batches: Sequence[Batch], terms: Terms) -> Batch:
    """Take in a batch of an approved loan; where the programme does not stage, it is the whole."""
    clause = control(loan, terms)
    ready = loan.state is LoanState.APPROVED or (
        loan.state is LoanState.ACTIVE and loan.undrawn_fen > 0
    )
    if not ready:
        raise Refused("LOAN_NOT_APPROVED", f"the loan is {loan.state}", message_zh="贷款未获批准")
    # What was asked for and lacks its papers keeps nothing back from what has them.
    paid = sum(each.amount_fen for each in batches if each.state is BatchState.PAID)
    free = loan.principal_fen - paid
    if batch.amount_fen > free or len(batches) >= BATCHES_MAX:
        raise Refused(
            "BATCH_ABOVE_LOAN",
            f"{batch.amount_fen} fen asked for, {paid} of {loan.principal_fen} fen are paid in "
            f"{len(batches)} batches",
            message_zh="支用金额超过贷款余额",
            facts={"free_fen": str(free), "batches": str(len(batches))},
        )
    whole = batch.amount_fen == loan.principal_fen
    needs_stages = {DrawNeed.PROGRESS_SIGNED} & set(clause.requires)
    if not clause.staged and not needs_stages and not whole and not batches:
        raise Refused(
            "NOT_STAGED",
            f"the programme releases the whole of {loan.principal_fen} fen",
            message_zh="该方案不分批支用",
        )
    return replace(batch, number=len(batches) + 1)


def sign(
    batch: Batch,
    loan: Loan,
    need: DrawNeed,
    organ: Organ | None,
    *,
    actor: Actor,
    terms: Terms,
    parties: Mapping[str, Sequence[str]],
    evidence: str,
) -> Batch:
    """Note one signature: the county's approval, the progress, or one of the joint account's."""
    clause = control(loan, terms)
    if need not in clause.requires or batch.state is not BatchState.REQUESTED:
        needs = ", ".join(each.value for each in clause.requires)
        raise Refused(
            "SIGNATURE_NOT_WANTED",
            f"{need.value} on a batch that is {batch.state}; the programme asks for {needs}",
            message_zh="该批次无须此项签批",
        )
    if actor.person_id == batch.requested_by:
        raise Refused(
            "SAME_PERSON", "who asked for a batch does not sign it", message_zh="审贷须分离"
        )
    product = terms.product(loan.product_id)
    if need is DrawNeed.JOINT_SIGNATURES:
        assert clause.account is not None
        if organ not in clause.account.signatories:
            names = ", ".join(each.value for each in clause.account.signatories)
            raise Refused(
                "NOT_A_SIGNATORY", f"the account's signatories are {names}", message_zh="非共管方"
            )
        assert organ is not None
        on_paper = require_organ(organ, loan, product, actor, parties)
        _require_paper(organ, on_paper=on_paper, evidence=evidence)
        if any(person == actor.person_id for _, person in batch.signed) and not on_paper:
            raise Refused(
                "SAME_PERSON", "one person signs for one party", message_zh="一人只能代表一方签字"
            )
        others = tuple(each for each in batch.signed if each[0] != organ.value)
        return replace(batch, signed=(*others, (organ.value, actor.person_id)))
    require_organ(Organ.COUNTY_CENTRE, loan, product, actor, parties)
    if need is DrawNeed.COUNTY_APPROVAL:
        return replace(batch, county_approved_by=actor.person_id)
    if need is DrawNeed.PROGRESS_SIGNED:
        return replace(batch, progress_signed_by=actor.person_id)
    raise Refused(
        "SIGNATURE_NOT_WANTED",
        f"{need.value} comes with the batch, nobody signs it",
        message_zh="该项随批次提交",
    )


def _require_paper(organ: Organ, *, on_paper: bool, evidence: str) -> None:
    if on_paper and not evidence:
        raise Refused(
            "EVIDENCE_NEEDED",
            f"{organ.value} signs on paper: its hash is needed",
            message_zh="须附签字文件",
        )


def release(
    batch: Batch,
    loan: Loan,
    *,
    terms: Terms,
    payment_evidence: str,
    today: date,
) -> Batch:
    """Release a batch that has all that the programme asks for, within what is approved."""
    clause = control(loan, terms)
    if batch.state is BatchState.PAID:
        raise Refused("BATCH_PAID", f"batch {batch.number} was paid", message_zh="该批次已支付")
    asked = DrawRequest(
        amount_fen=batch.amount_fen,
        evidence_ok=bool(batch.evidence),
        county_approved=bool(batch.county_approved_by),
        entrusted_payment=bool(batch.supplier and payment_evidence),
        progress_signed=bool(batch.progress_signed_by),
        signed_by=frozenset(Organ(organ) for organ, _ in batch.signed),
    )
    lacking = drawdown.missing(asked, clause.requires, account=clause.account)
    if lacking:
        raise Refused(
            "BATCH_INCOMPLETE",
            f"batch {batch.number} lacks {', '.join(lacking)}",
            message_zh="支用条件不齐备",
            facts={"missing": ", ".join(lacking)},
        )
    free = loan.principal_fen if loan.disbursed_on is None else loan.undrawn_fen
    if batch.amount_fen > free:
        raise Refused(
            "BATCH_ABOVE_LOAN",
            f"{batch.amount_fen} fen asked for, {free} fen are left",
            message_zh="支用金额超过贷款余额",
            facts={"free_fen": str(free)},
        )
    return replace(batch, state=BatchState.PAID, paid_on=today, payment_evidence=payment_evidence)
