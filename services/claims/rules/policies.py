"""Claims: what a master policy must say, and how a loan's household joins its insured list."""

from datetime import date
from uuid import UUID

from services.claims.model import NOTHING, ApprovedLoan, InsuredEntry, MasterPolicy
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.programmes import covers
from services.programmes.schema.insurance import (
    Cover,
    Insurance,
    SumInsured,
    SumInsuredFixed,
    SumInsuredOfLoan,
    SumInsuredStated,
)
from services.programmes.schema.insurance import Premium as PremiumClause
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms


def check_policy(policy: MasterPolicy, terms: Terms) -> None:
    """
    Refuse a policy whose claims could not be decided later.

    Whatever its cover leaves open is refused here and now, so that joining a list, which follows
    from an event, never has to refuse.
    """
    if policy.until_date < policy.from_date:
        rule = f"must not be before from_date {policy.from_date}"
        raise invalid_field("TERM_ENDS_BEFORE_IT_STARTS", "until_date", policy.until_date, rule)
    cover = terms.cover(policy.cover_id)
    if not covers.in_catalogue(cover, policy.from_date):
        raise Refused(
            "COVER_NOT_OFFERED",
            f"{terms.ref} does not offer {cover.id} on {policy.from_date}",
            message_zh="该险种在起保日不在方案内",
        )
    if isinstance(_sum_insured(cover), SumInsuredStated) and cover.price_index is None:
        raise Refused(
            "SUM_INSURED_MISSING",
            f"the sum insured of {cover.id} is stated thing by thing, not for a county",
            message_zh="该险种须逐项约定保额",
        )
    cap_fen(cover)
    if known(cover.assigned):
        known(cover.payees)
        _check_sweep(terms.insurance)
    if _premium(cover) is not None and _premium_payer(cover) == "enterprise":
        raise Refused(
            "PREMIUM_PAYER_UNKNOWN",
            f"which enterprise pays the premium of {cover.id} is not known",
            message_zh="缴费企业未知",
        )


def _check_sweep(insurance: Insurance) -> None:
    if known(insurance.sweep_trigger) != "always":
        raise Refused(
            "SWEEP_TRIGGER_NOT_DECIDABLE",
            "whether repayment is in difficulty is a word of the lender that nobody gave (S04)",
            message_zh="还款困难须由银行确认",
        )


def _sum_insured(cover: Cover) -> SumInsured:
    rule = known(cover.sum_insured)
    assert isinstance(rule, SumInsuredOfLoan | SumInsuredFixed | SumInsuredStated)
    return rule


def cap_fen(cover: Cover) -> Fen | None:
    """The most that a claim on this cover pays, where the programme caps it."""
    return None if cover.cap_fen is None else known(cover.cap_fen)


def _premium(cover: Cover) -> PremiumClause | None:
    """The cover's premium clause, None while the programme leaves it open."""
    if isinstance(cover.premium, Open) or isinstance(cover.premium.rate_ppm, Open):
        return None
    return cover.premium


def _premium_payer(cover: Cover) -> str:
    clause = _premium(cover)
    return clause.payer if clause else ""


def join(
    loan: ApprovedLoan, policy: MasterPolicy, cover: Cover, *, on: date, insured_id: UUID
) -> InsuredEntry:
    """Put a loan's household on a policy's insured list from a day on, within the policy's term."""
    sum_insured_fen = covers.sum_insured_fen(
        _sum_insured(cover), loan_principal_fen=loan.principal_fen
    )
    premium_fen, payer_id = premium_of(loan, policy, cover, sum_insured_fen)
    return InsuredEntry(
        county_code=loan.county_code,
        insured_id=insured_id,
        policy_id=policy.policy_id,
        household_id=loan.household_id,
        loan_id=loan.loan_id,
        cover_id=cover.id,
        sum_insured_fen=sum_insured_fen,
        premium_fen=premium_fen,
        premium_payer_id=payer_id,
        from_date=max(policy.from_date, on),
        until_date=policy.until_date,
    )


def premium_of(
    loan: ApprovedLoan, policy: MasterPolicy, cover: Cover, sum_insured_fen: Fen
) -> tuple[Fen, str]:
    """A year's premium of an entry and who owes it; nothing while the programme leaves it open."""
    clause = _premium(cover)
    if clause is None:
        return NOTHING, ""
    premium = covers.premium(
        sum_insured_fen, known(clause.rate_ppm), max_rate_ppm=clause.max_rate_ppm
    )
    payers = {
        "borrower": str(loan.household_id),
        "county": loan.county_code,
        "insurer": policy.insurer_id,
    }
    return premium.premium_fen, payers[clause.payer]
