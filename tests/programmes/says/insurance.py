"""What a pack must say of insurance for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.programmes import covers
from services.programmes.cases.values import Case
from services.programmes.schema.values import known
from services.programmes.terms import Terms


def premium(terms: Terms, given: Case) -> None:
    clause = known(terms.cover("loan_guarantee").premium)
    assert clause.max_rate_ppm == given["max_rate_ppm"]
    assert clause.payer == "borrower"
    assert not covers.premium(
        given["base_fen"], given["rate_ppm"], max_rate_ppm=clause.max_rate_ppm
    ).allowed


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "insurance.premium": premium,
}
