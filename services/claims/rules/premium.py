"""Claims: what a premium is, and which payments of it are taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from services.claims.model import Payment
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.programmes import covers, policies
from services.programmes.schema.values import known
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Quote:
    """A premium, the rate behind it, and whether the programme allows it."""

    premium: covers.Premium
    rate_ppm: int


def quote(
    terms: Terms, cover_id: str, base_fen: Fen, rate_ppm: int | None
) -> tuple[Quote, Mapping[str, Fen]]:
    """A cover's premium on a sum insured, or without a cover a policy's on lending."""
    if not cover_id:
        clause = terms.insurance.master_policy
        if clause is None or clause.premium is None:
            raise Refused(
                "PREMIUM_NOT_ON_LENDING",
                f"{terms.ref} has no premium on lending",
                message_zh="方案未规定按贷款额计收保费",
            )
        whole = policies.policy_premium(clause.premium, lending_fen=base_fen)
        owed: dict[str, Fen] = {clause.premium.payer: whole.premium_fen}
        return Quote(whole, clause.premium.rate_ppm), owed
    premium_clause = known(terms.cover(cover_id).premium)
    rate = known(premium_clause.rate_ppm) if rate_ppm is None else rate_ppm
    premium = covers.premium(base_fen, rate, max_rate_ppm=premium_clause.max_rate_ppm)
    return Quote(premium, rate), policies.premium_parts(premium_clause, premium.premium_fen)


def check_payment(payment: Payment, owed_fen: Fen | None, today: date) -> None:
    """Refuse what nobody owes, more than is owed, and more back than is due."""
    if owed_fen is None:
        raise Refused(
            "NO_SUCH_RECEIVABLE",
            f"{payment.payer_id} owes nothing on policy {payment.policy_id}",
            message_zh="该缴费方无此应收保费",
        )
    facts = {"owed_fen": str(owed_fen), "paid_fen": str(payment.amount_fen)}
    if payment.amount_fen > 0 and payment.amount_fen > owed_fen:
        raise Refused(
            "PAYMENT_ABOVE_PREMIUM",
            f"{payment.amount_fen} fen is above the {owed_fen} owed",
            message_zh="缴费金额高于应收保费",
            facts=facts,
        )
    if payment.amount_fen < 0 and payment.amount_fen < owed_fen:
        raise Refused(
            "REFUND_ABOVE_OWED",
            f"{-payment.amount_fen} fen is above the {max(0, -owed_fen)} to give back",
            message_zh="退费金额高于应退保费",
            facts=facts,
        )
    if payment.value_date > today:
        rule = f"must not be after the business date {today}"
        raise invalid_field("VALUE_DATE_AHEAD", "value_date", payment.value_date, rule)


def payment_exists(payment: Payment) -> Refused:
    """One reference, one payment."""
    return Refused(
        "PAYMENT_EXISTS",
        f"reference {payment.reference} belongs to a payment already",
        message_zh="该流水号已入账",
    )
