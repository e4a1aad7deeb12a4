"""Products: what a product asks of an application, clause by clause."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.money import PPM, Fen
from services.programmes import limits
from services.programmes.schema.loans import LoanProduct
from services.programmes.schema.product_terms import (
    Fee,
    GroupLending,
    Phase,
    PooledLending,
    UseOfLoan,
)
from services.programmes.schema.values import Open, known


@dataclass(frozen=True, slots=True)
class Check:
    """Whether something is allowed, and every reason why not."""

    allowed: bool
    reasons: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class GroupAmount:
    """What a number of persons may borrow together."""

    amount_fen: Fen
    working: str


def _check(what: str, reasons: Iterable[str]) -> Check:
    found = tuple(reasons)
    return Check(not found, found, f"{what}: {', '.join(found) or 'allowed'}")


def amount_bounds(
    product: LoanProduct, *, standing: str | None = None, persons: int | None = None
) -> tuple[Fen, Fen | None]:
    """The smallest and the largest amount, by the borrower's standing and number of persons."""
    tier = next((tier for tier in product.amount_tiers if tier.id == standing), None)
    most: Fen | None = None
    if tier is not None:
        most = known(tier.max_principal_fen)
    elif product.max_principal_fen is not None:
        most = known(product.max_principal_fen)
    if product.per_capita_fen is not None and persons is not None:
        by_heads = per_capita(persons, product.per_capita_fen).amount_fen
        most = by_heads if most is None else min(most, by_heads)
    least = product.min_principal_fen
    if tier is not None and tier.min_principal_fen is not None:
        least = tier.min_principal_fen
    return least or Fen(0), most


def amount_check_of(
    product: LoanProduct,
    requested_fen: Fen,
    *,
    credit_limit_fen: Fen,
    outstanding_fen: Fen,
    standing: str | None = None,
    persons: int | None = None,
) -> limits.AmountCheck:
    """The amount check by a product's own bounds; below its smallest amount nothing is lent."""
    least, most = amount_bounds(product, standing=standing, persons=persons)
    checked = limits.amount_check(
        requested_fen,
        credit_limit_fen=credit_limit_fen,
        product_cap_fen=most,
        outstanding_fen=outstanding_fen,
    )
    if requested_fen >= least or not checked.allowed:
        return checked
    working = f"{checked.working}; at least {least}"
    return limits.AmountCheck(False, checked.max_amount_fen, "product_minimum", working)


def line_check(product: LoanProduct, requested_fen: Fen, *, lent_fen: Fen) -> Check:
    """Whether the product's own line still holds the amount."""
    line = product.line_fen
    over = line is not None and lent_fen + requested_fen > line
    return _check(f"{lent_fen} + {requested_fen} of {line} fen", ["over_line"] if over else [])


def per_capita(persons: int, per_capita_fen: Fen) -> GroupAmount:
    """So much a person."""
    assert persons >= 0
    amount = Fen(persons * per_capita_fen)
    return GroupAmount(amount, f"{persons} × {per_capita_fen} = {amount} fen")


def group_check(clause: GroupLending, households: int) -> Check:
    """Whether a group has as many households as the product asks, bounds included."""
    few = clause.min_households is not None and households < clause.min_households
    many = clause.max_households is not None and households > clause.max_households
    reasons = [name for name, hit in (("group_too_small", few), ("group_too_large", many)) if hit]
    bounds = f"{clause.min_households} to {clause.max_households}"
    return _check(f"{households} households of {bounds}", reasons)


def term_check(
    product: LoanProduct, term_months: int, *, production_cycle_months: int | None = None
) -> Check:
    """
    Within the longest term, inclusive.

    Where the production cycle decides, the cycle is named and the term is not shorter than it.
    """
    reasons: list[str] = []
    longest = None if product.max_term_months is None else known(product.max_term_months)
    if term_months < 1:
        reasons.append("no_term")
    if longest is not None and term_months > longest:
        reasons.append("term_too_long")
    if product.term_mode == "production_cycle":
        if production_cycle_months is None:
            reasons.append("production_cycle_unknown")
        elif term_months < production_cycle_months:
            reasons.append("term_below_production_cycle")
    cycle = f", cycle {production_cycle_months}" if production_cycle_months else ""
    return _check(f"{term_months} months of at most {longest}{cycle}", reasons)


def use_check(
    clause: UseOfLoan | None,
    *,
    borrower: str,
    user: str,
    repayer: str,
    mode: str | None = None,
    conduct: Sequence[str] = (),
) -> Check:
    """Borrower = user = repayer where the clause says so, in a mode it lists, without misuse."""
    if clause is None:
        return _check("no rule on the use", [])
    who = {"user": user, "repayer": repayer}
    reasons = [f"{part}_is_not_borrower" for part in clause.borrower_is if who[part] != borrower]
    if mode in clause.prohibited_modes:
        reasons.append("prohibited_mode")
    elif clause.modes is not None and mode not in clause.modes:
        reasons.append("mode_not_listed")
    reasons += [act for act in conduct if act in clause.prohibited_conduct]
    return _check(f"borrowed by {borrower}, used by {user}, repaid by {repayer}, {mode}", reasons)


def fee_check(fees: Sequence[Fee], charged: Mapping[str, Fen], *, principal_fen: Fen) -> Check:
    """Only listed costs, each within its bound: an empty list allows none."""
    by_id = {fee.id: fee for fee in fees}
    reasons: list[str] = []
    for code, amount in charged.items():
        fee = by_id.get(code)
        if amount == 0:
            continue
        if fee is None:
            reasons.append(f"fee_not_allowed:{code}")
        elif amount * PPM > _fee_bound(fee, principal_fen):
            reasons.append(f"fee_too_high:{code}")
    return _check(f"{len(charged)} costs against {len(by_id)} allowed", reasons)


def _fee_bound(fee: Fee, principal_fen: Fen) -> int:
    # In fen × 10^6, so that a rate is compared exactly.
    if fee.max_fen is not None:
        return fee.max_fen * PPM
    return principal_fen * (fee.max_rate_ppm or 0)


def state_on(phases: Sequence[Phase], on: date) -> str:
    """The state of a product on a day; a phase whose day is open has not begun."""
    state = "open"
    for phase in phases:
        if not isinstance(phase.valid_from, Open) and phase.valid_from <= on:
            state = phase.state
    return state


def availability_check(product: LoanProduct, on: date, *, whitelisted: bool = False) -> Check:
    """Whether the product is granted on a day, to a project that is or is not white-listed."""
    state = state_on(product.availability, on)
    reasons = ["product_suspended"] if state == "suspended" else []
    if state == "whitelist_only" and not whitelisted:
        reasons.append("not_whitelisted")
    return _check(f"{product.id} on {on} is {state}", reasons)


def project_check(
    clause: PooledLending, *, levels: Sequence[str], grade: str | None, whitelisted: bool
) -> Check:
    """Pooled money is drawn by projects in every library, graded and on the white list."""
    reasons = [f"not_in_{level}_library" for level in clause.library_levels if level not in levels]
    if grade not in clause.project_grades:
        reasons.append("not_graded")
    if clause.whitelist_required and not whitelisted:
        reasons.append("not_whitelisted")
    return _check(f"project graded {grade}, in {', '.join(levels) or 'no library'}", reasons)


def gates_of(product: LoanProduct, facts: Mapping[str, bool]) -> Check:
    """The product's own conditions: all must hold, what is not known is not held."""
    failed = [gate.code for gate in product.gates if not facts.get(gate.code, False)]
    return _check(f"{len(product.gates)} conditions", failed)
