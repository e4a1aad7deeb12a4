"""What an application states that nothing forbids: all that the programme asks for."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import uuid4

from services.programmes import pricing
from services.programmes.schema.loans import LoanProduct
from services.programmes.schema.registry import Registry
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

BORN_ON = date(1985, 5, 5)


def particulars(
    terms: Terms,
    product: LoanProduct,
    parties: Mapping[str, Sequence[str]],
    *,
    months: int,
    on: date,
) -> dict[str, Any]:
    """Papers, persons, facts and a rate by which no rule refuses an application."""
    stated: dict[str, Any] = {}
    online = bool(product.channels) and "counter" not in product.channels
    if online:
        stated["channel"] = "online"
    if terms.pack.registry is not None:
        stated |= _papers(terms.pack.registry)
    if terms.pack.eligibility is not None and terms.pack.eligibility.max_age is not None:
        stated["birth_date"] = BORN_ON
    if product.use is not None and product.use.modes:
        stated["use_mode"] = product.use.modes[0]
    if product.term_mode == "production_cycle":
        stated["production_cycle_months"] = months
    stated["facts"] = [{"code": code, "holds": True} for code in _facts(terms, product)]
    if product.security.guarantor == "required":
        named = [each for party in product.security.guarantor_parties for each in parties[party]]
        stated["guarantor_id"] = named[0] if named else "guarantor"
    return stated | _rate(terms, product, months=months, on=on)


def _papers(rules: Registry) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    if rules.documents is not None:
        stated["documents"] = [
            {"kind": kind, "evidence": uuid4().hex} for kind in known(rules.documents.required)
        ]
    if rules.signatories is not None:
        stated["signatories"] = list(rules.signatories.among)
    if rules.identity_proof:
        stated["identity_proof"] = str(rules.identity_proof[0])
    return stated


def _facts(terms: Terms, product: LoanProduct) -> list[str]:
    codes = [gate.code for gate in product.gates]
    if not isinstance(product.subsidy, Open):
        codes += product.subsidy.requires
    rules = terms.pack.registry
    if product.group is not None and rules is not None and rules.mutual_help is not None:
        codes += rules.mutual_help.lead
    return codes


def _rate(terms: Terms, product: LoanProduct, *, months: int, on: date) -> dict[str, Any]:
    """The highest rate, or the lowest where none is the highest; nothing where it is fixed."""
    if isinstance(product.pricing, Open) or isinstance(terms.loans.benchmark, Open):
        return {}
    reference = pricing.reference_rate_ppm(terms.loans, product.pricing, term_months=months, on=on)
    low, high = pricing.rate_bounds_ppm(product.pricing, reference_ppm=reference or 0)
    return {} if low == high else {"proposed_rate_ppm": low if high is None else high}
