"""Loans: everything that may speak against an application, each with its numbers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Application, Borrower, Breaker, Finding, Listing
from services.programmes import calendars, limits, pricing, products, registry, sanctions
from services.programmes.products import Check
from services.programmes.registry import Complete
from services.programmes.schema.loans import LoanProduct
from services.programmes.schema.product_terms import GroupLending
from services.programmes.schema.sanctions import Relation, SanctionEffect
from services.programmes.schema.values import FEN_MAX, BorrowerClass, Code, Open, known
from services.programmes.terms import Terms

CLASS_OF_STATUS: Mapping[str, BorrowerClass] = {
    "registered_poor": BorrowerClass.POOR_HOUSEHOLD,
    "near_poor": BorrowerClass.NEAR_POOR_HOUSEHOLD,
    "non_poor": BorrowerClass.NON_POOR_HOUSEHOLD,
    "five_guarantee": BorrowerClass.POOR_HOUSEHOLD,
}

COLLECTIVES = frozenset({"village_company", "village_collective"})
"""Kinds of entities that are the village's own."""

NEW_BUSINESS_ENTITIES = frozenset(
    {"cooperative", "leading_enterprise", "family_farm", "large_farm"}
)
"""What programmes sum up as new business entities (新型经营主体)."""

NO_FEN = Fen(0)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an applicant and where it wants to borrow, beside the application."""

    borrower: Borrower
    members: tuple[Borrower | None, ...] = ()
    """Of a group: every other household, None for one that nobody knows."""
    parties: Mapping[str, Sequence[str]] = field(default_factory=dict)
    breakers: Sequence[Breaker] = ()
    listings: Sequence[Listing] = ()
    lent_fen: Fen = NO_FEN
    """Lent or promised out of the product's own line."""
    open_loans: int = 0
    """The borrower's loans of the product that are not settled."""

    @property
    def households(self) -> tuple[Borrower, ...]:
        """Every household that answers: the borrower's own and the group's."""
        found = tuple(each for each in self.members if each is not None)
        return found if self.borrower.entity_kind else (self.borrower, *found)


def class_of(borrower: Borrower) -> BorrowerClass | None:
    """The programme's class of a borrower; None for one that may not borrow."""
    if borrower.entity_kind in COLLECTIVES:
        return BorrowerClass.VILLAGE_COLLECTIVE
    if borrower.entity_kind:
        return BorrowerClass.ENTITY
    return CLASS_OF_STATUS.get(borrower.status)


def borrower_class(known_: Known, product: LoanProduct) -> BorrowerClass | None:
    """The class under which it borrows; a society that borrows for its members has theirs."""
    own = class_of(known_.borrower)
    if _society(product.group) and known_.borrower.entity_kind and known_.households:
        return class_of(known_.households[0])
    return own


def _society(group: GroupLending | None) -> bool:
    return group is not None and group.borrower == "society"


def findings(
    application: Application, known_: Known, *, terms: Terms, today: date
) -> tuple[Finding, ...]:
    """All that forbids an application, at once; refused while a value that is needed is open."""
    product = terms.product(application.product_id)
    found: list[Finding] = []
    found += _who(application, known_, product)
    found += _how_much(application, known_, product, today)
    found += _what_for(application, known_, product, terms)
    found += _terms_asked(application, product, terms, today)
    whitelisted = application.stated.project is not None and application.stated.project.whitelisted
    found += _of(products.availability_check(product, today, whitelisted=whitelisted))
    found += _papers(application, product, terms)
    found += _group(application, known_, product, terms)
    found += _gates(application, known_, product, terms, today)
    found += _where(application, known_, product)
    found += sanctioned(known_.listings, terms, today)
    found += _stopped(known_.breakers)
    return tuple(found)


def _of(check: Check) -> list[Finding]:
    return [Finding(reason.upper(), check.working) for reason in check.reasons]


def _lacking(reason: str, check: Complete) -> list[Finding]:
    if check.complete:
        return []
    return [Finding(reason, f"{check.working}; missing: {', '.join(check.missing) or 'all'}")]


def _who(application: Application, known_: Known, product: LoanProduct) -> Iterable[Finding]:
    borrower, lender = known_.borrower, application.lender_id
    lenders = (*known_.parties.get("lender", ()), *known_.parties.get(product.lender, ()))
    # Nobody else could ever decide the lender's step, and the limit would stay taken.
    if lender not in lenders:
        yield Finding("LENDER_NOT_A_PARTY", f"{lender} is none of {', '.join(lenders) or 'none'}")
    own = borrower_class(known_, product)
    classes = ", ".join(each.value for each in product.borrower_classes)
    if own is None:
        yield Finding("HOUSEHOLD_NOT_ELIGIBLE", f"status {borrower.status or 'unknown'}")
    elif own not in product.borrower_classes:
        yield Finding("PRODUCT_NOT_FOR_THIS_CLASS", f"{own.value}, the product is for {classes}")
    elif not _kind_fits(borrower, product.entity_types, application.stated.standing):
        types = ", ".join(product.entity_types)
        yield Finding("ENTITY_TYPE_NOT_LISTED", f"{borrower.entity_kind}, listed are {types}")


def _kind_fits(borrower: Borrower, types: Sequence[Code], standing: str) -> bool:
    if not borrower.entity_kind or not types:
        return True
    kind = borrower.entity_kind
    widely = "new_business_entity" in types and kind in NEW_BUSINESS_ENTITIES
    return kind in types or standing in types or widely


def _how_much(
    application: Application, known_: Known, product: LoanProduct, today: date
) -> Iterable[Finding]:
    borrower, asked = known_.borrower, application.principal_fen
    answering = known_.households if _joint(product.group) else (borrower,)
    limit = Fen(sum(_limit(each, today) for each in answering))
    if borrower.entity_kind:
        # Credit grants limits to households: an entity's bound is the product's own.
        limit, owed = Fen(FEN_MAX), borrower.exposure_fen
    else:
        owed = Fen(sum(each.exposure_fen for each in answering))
    persons = sum(each.people for each in known_.households)
    if product.per_capita_fen is not None and not all(e.people for e in known_.households):
        yield Finding("PEOPLE_UNKNOWN", "so much a person, and nobody said how many there are")
    if limit == 0:
        until = borrower.limit_valid_until
        yield Finding("NO_CREDIT_LIMIT", f"limit {borrower.limit_fen} fen, valid until {until}")
        for each in answering:
            for code in each.held_by:
                yield Finding(held_reason(code), f"{code} took the limit away at credit")
    else:
        amount = products.amount_check_of(
            product,
            asked,
            credit_limit_fen=limit,
            outstanding_fen=owed,
            standing=application.stated.standing or borrower.entity_kind or None,
            persons=persons or None,
        )
        if not amount.allowed:
            below = amount.binding == "product_minimum"
            word = "BELOW_PRODUCT_MINIMUM" if below else f"ABOVE_{amount.binding.upper()}"
            yield Finding(word, amount.working)
    yield from _of(products.line_check(product, asked, lent_fen=known_.lent_fen))
    if product.backing is not None:
        line = product.backing.initial_fen * known(product.backing.multiple)
        if known_.lent_fen + asked > line:
            yield Finding("OVER_BACKING", f"{known_.lent_fen} + {asked} of {line} fen")
    if product.reborrowing == "after_full_repayment" and known_.open_loans:
        yield Finding("EARLIER_LOAN_OPEN", f"{known_.open_loans} loans of it are not settled")


def held_reason(code: str) -> str:
    """What took a limit away, as a reason: `gate:not_idle` is GATE_NOT_IDLE."""
    return code.replace(":", "_").upper()


def _joint(group: GroupLending | None) -> bool:
    return group is not None and group.liability == "joint"


def _limit(borrower: Borrower, today: date) -> Fen:
    until = borrower.limit_valid_until
    return borrower.limit_fen if until is None or today <= until else NO_FEN


def _what_for(
    application: Application, known_: Known, product: LoanProduct, terms: Terms
) -> Iterable[Finding]:
    stated, borrower = application.stated, known_.borrower
    purpose = limits.purpose_check_of(
        product.purpose,
        application.purpose,
        used_in_area=application.used_in_area,
        required_area=limits.required_area(terms.loans.area_of_use, borrower.area_code),
    )
    if purpose.reason is not None:
        yield Finding(purpose.reason.upper(), purpose.working)
    own = str(borrower.household_id)
    user = str(stated.user_id or own)
    repayer = str(stated.repayer_id or own)
    yield from _of(
        products.use_check(
            product.use,
            borrower=own,
            user=user,
            repayer=repayer,
            mode=stated.use_mode or None,
            conduct=stated.conduct,
        )
    )
    if terms.pack.eligibility is not None and product.use is None:
        same = registry.same_person(terms.eligibility, borrower=own, user=user, repayer=repayer)
        if same.reason is not None:
            yield Finding(same.reason.upper(), same.working)


def _terms_asked(
    application: Application, product: LoanProduct, terms: Terms, today: date
) -> Iterable[Finding]:
    stated = application.stated
    yield from _of(
        products.term_check(
            product,
            application.term_months,
            production_cycle_months=stated.production_cycle_months or None,
        )
    )
    if stated.settlement and stated.settlement not in product.settlement_cycles:
        offered = ", ".join(product.settlement_cycles)
        yield Finding("SETTLEMENT_NOT_OFFERED", f"{stated.settlement}, offered are {offered}")
    fees = dict(stated.fees)
    allowed = () if product.fees is None else known(product.fees)
    if fees:
        check = products.fee_check(allowed, fees, principal_fen=application.principal_fen)
        charged = ", ".join(f"{code} {amount} fen" for code, amount in fees.items())
        for each in dict.fromkeys(reason.partition(":")[0].upper() for reason in check.reasons):
            yield Finding(each, f"{check.working}: {charged}")
    if stated.funding and stated.funding not in {each.id for each in product.funding_sources}:
        yield Finding("FUNDING_SOURCE_NOT_ALLOWED", f"the product has no {stated.funding}")
    elif stated.proposed_rate_ppm:
        try:
            pricing.quote(
                product,
                terms.loans,
                principal_fen=application.principal_fen,
                term_months=application.term_months,
                on=today,
                proposed_ppm=stated.proposed_rate_ppm,
                funding=stated.funding or None,
            )
        except Refused as refusal:
            if refusal.reason not in ("LOAN_RATE_NOT_ALLOWED", "BENCHMARK_RATE_UNKNOWN"):
                raise
            yield Finding(refusal.reason, refusal.message)


def _papers(application: Application, product: LoanProduct, terms: Terms) -> Iterable[Finding]:
    stated, rules = application.stated, terms.pack.registry
    channel = stated.channel or "counter"
    if product.channels and channel not in product.channels:
        offered = ", ".join(product.channels)
        yield Finding("CHANNEL_NOT_OFFERED", f"{channel}, the product has {offered}")
    if rules is not None and rules.documents is not None:
        given = {document.kind for document in stated.documents}
        yield from _lacking("DOCUMENTS_MISSING", registry.papers(rules.documents, given))
    if rules is not None and rules.signatories is not None:
        signed = registry.signed(rules.signatories, stated.signatories)
        yield from _lacking("SIGNATURES_MISSING", signed)
    proofs = tuple(str(proof) for proof in rules.identity_proof) if rules else ()
    proof = stated.identity_proof
    if not proof and channel == "counter" and "in_person" in proofs:
        proof = "in_person"
    if (proofs and proof not in proofs) or (channel == "online" and not proof):
        asked = ", ".join(proofs) or "any"
        yield Finding("IDENTITY_NOT_PROVEN", f"{proof or 'nothing'} given, asked for: {asked}")
    if stated.authorised_by:
        rule = rules.remote_authority if rules else None
        if rule is None:
            yield Finding("REMOTE_AUTHORITY_NOT_OFFERED", f"given by {stated.authorised_by}")
        else:
            by, evidence = stated.authorised_by, stated.authority_evidence
            yield from _lacking(
                "REMOTE_AUTHORITY_INCOMPLETE", registry.authorised(rule, by, evidence)
            )


def _group(
    application: Application, known_: Known, product: LoanProduct, terms: Terms
) -> Iterable[Finding]:
    asked = application.stated.members
    if product.group is None:
        if asked:
            yield Finding("GROUP_NOT_OFFERED", f"{len(asked)} households beside the borrower")
        return
    unknown = sum(member is None or not member.area_code for member in known_.members)
    twice = len({*asked, application.household_id}) != len(asked) + 1
    if unknown or twice:
        yield Finding("MEMBER_UNKNOWN", f"{unknown} unknown, one named twice: {twice}")
    yield from _of(products.group_check(product.group, len(known_.households)))
    wrong = [
        each.status for each in known_.households if class_of(each) not in product.borrower_classes
    ]
    if wrong:
        yield Finding(
            "MEMBER_NOT_ELIGIBLE", f"{len(wrong)} members: {', '.join(sorted(set(wrong)))}"
        )
    rule = terms.pack.registry.mutual_help if terms.pack.registry else None
    if product.group.borrower == "lead" and rule is not None:
        facts = dict(application.stated.facts)
        if lacking := [code for code in rule.lead if not facts.get(code, False)]:
            yield Finding("LEAD_LACKS", f"the lead household lacks {', '.join(lacking)}")


def _gates(
    application: Application, known_: Known, product: LoanProduct, terms: Terms, today: date
) -> Iterable[Finding]:
    facts = dict(application.stated.facts)
    for each in products.gates_of(product, facts).reasons:
        yield Finding(f"GATE_{each.upper()}", f"{each} must hold, stated: {facts.get(each)}")
    eligibility = terms.pack.eligibility
    if eligibility is None:
        return
    # Without all gates credit gives no limit, and without a limit nothing is lent; a statement
    # against one counts too.
    gates = () if isinstance(eligibility.gates, Open) else eligibility.gates
    for gate in gates:
        if facts.get(gate.code) is False:
            yield Finding(f"GATE_{gate.code.upper()}", f"{gate.code} must hold, stated: False")
    if eligibility.max_age is not None and not known_.borrower.entity_kind:
        born = application.stated.birth_date
        if born is None:
            yield Finding(
                "AGE_UNKNOWN", f"at most {known(eligibility.max_age)}, no birth date given"
            )
            return
        at_maturity = eligibility.age_on == "maturity"
        on = calendars.add_months(today, application.term_months) if at_maturity else today
        age = limits.age_check(born, on, known(eligibility.max_age))
        if not age.allowed:
            yield Finding("TOO_OLD", age.working)


def _where(application: Application, known_: Known, product: LoanProduct) -> Iterable[Finding]:
    project, stated = application.stated.project, application.stated
    whitelisted = project is not None and project.whitelisted
    if product.pooled is not None:
        yield from _of(
            products.project_check(
                product.pooled,
                levels=project.library_levels if project else (),
                grade=project.grade if project else None,
                whitelisted=whitelisted,
            )
        )
    if product.security.guarantor == "required":
        parties = [
            institution
            for party in product.security.guarantor_parties
            for institution in known_.parties.get(party, ())
        ]
        if not stated.guarantor_id or (parties and stated.guarantor_id not in parties):
            named = ", ".join(parties) or "one"
            yield Finding("GUARANTOR_MISSING", f"{stated.guarantor_id or 'none'} of {named}")


def _stopped(breakers: Sequence[Breaker]) -> Iterable[Finding]:
    stop = stopped(breakers, "stop_approve")
    if stop is not None:
        numbers = f"{stop.numerator} of {stop.denominator}"
        yield Finding("BREAKER_TRIPPED", f"{stop.scope} {stop.scope_id}: {numbers}")


def sanctioned(listings: Sequence[Listing], terms: Terms, today: date) -> list[Finding]:
    """
    Who is listed for a cause that takes credit away; so does one the programme does not name.

    A listing names one of the programme's sanctions, or the cause of several.
    """
    found = []
    for listing in listings:
        rules = [each for each in terms.loans.sanctions if listing.cause in (each.id, each.cause)]
        cause = (rules[0].cause or rules[0].id) if rules else listing.cause
        lost = sanctions.lost(
            rules,
            cause=cause,
            relation=Relation.SELF,
            sanctioned_on=listing.listed_on,
            on=today,
        )
        if not rules or SanctionEffect.NO_CREDIT in lost.effects:
            since = f"since {listing.listed_on}"
            found.append(Finding("SANCTIONED", f"{listing.cause} {since}; {lost.working}"))
    return found


def stopped(breakers: Sequence[Breaker], effect: str) -> Breaker | None:
    """The breaker that forbids something, if one does."""
    found = (breaker for breaker in breakers if breaker.tripped and effect in breaker.effects)
    return next(found, None)
