"""
What must hold of the books (faults.md, B.0): of every transaction as it commits, and at rest.

A rule looks at what a transaction writes beside what was committed; it names what is broken.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from services.claims.model import ClaimState, InstructionState, PayeeKind, PayoutState
from services.funds.model import CaseState, CoverState, Source
from services.kernel.money import Fen
from services.loans.model import LoanState
from services.loans.rules import book, position
from services.loans.rules.book import PostingKind
from services.loans.rules.scopes import scopes_of_loan
from tests.sim import county
from tests.sim.memory import Database, Session

Lines = Iterator[str]
IN = {"repayment": 1, "payout": 1, "refund": -1, "payout_undone": -1}
"""Which postings bring money to a loan, and which give it back."""
PAID = (CaseState.PAID, CaseState.CLOSED)


def _booked(session: Session, name: str, owner: Any) -> int:
    """What an account comes to with this transaction."""
    owner = str(owner)
    fen = session.db.balances.get((name, owner), 0)
    for _, transfers in session.entries:
        for each in transfers:
            if each.debit.owner_id == owner and each.debit.name == name:
                fen += each.amount_fen
            if each.credit.owner_id == owner and each.credit.name == name:
                fen -= each.amount_fen
    return fen


def _written(session: Session, table: str) -> Mapping[Any, Any]:
    return session.own.get(table) or {}


# --- loans ----------------------------------------------------------------------------------------


def loans(session: Session) -> Lines:
    """G1-G4, F13, and the conservation of every fen of a loan."""
    for loan_id, loan in _written(session, "loan").items():
        was = session.db.tables["loan"].get(loan_id)
        yield from _loan(session, loan)
        yield from _stopped(session, was, loan)
        if (
            was is not None
            and was.disbursed_on is not None
            and was.disbursed_on != loan.disbursed_on
        ):
            yield f"loan {loan_id} was paid out twice"
    for payout_id, now in _written(session, "allocation").items():
        yield from _allocation(session, session.db.tables["allocation"].get(payout_id), now)


def _loan(session: Session, loan: Any) -> Lines:
    if loan.interest is None:
        return
    name, owed, held = loan.loan_id, loan.owed_fen, loan.interest.owed_fen
    said = (loan.outstanding_fen, held, -loan.suspense_fen)
    accounts = ("loan_principal", "loan_interest", "suspense")
    booked = tuple(_booked(session, account, name) for account in accounts)
    if said != booked:
        yield f"G4 loan {name} is {said}, its accounts {booked}"
    if (loan.state is LoanState.SETTLED) != (owed == 0):
        yield f"G3 loan {name} is {loan.state} and owes {owed}"
    if loan.subrogated_fen > owed:
        yield f"loan {name}: {loan.subrogated_fen} of {owed} owed is others'"
    came = 0
    for each in session.get("posting", name) or ():
        sign = IN.get(each.kind.value, 0)
        came += sign * each.amount_fen * (1 if each.reverses is None else -1)
    out = loan.principal_fen + loan.interest.household_posted_fen
    if out != came + owed - loan.suspense_fen:
        yield f"G5 loan {name}: {out} went out, {came} came, {owed} is owed"


def _stopped(session: Session, was: Any, loan: Any) -> Lines:
    """No approval and no disbursement commits beside a breaker that has tripped (F13)."""
    approved = loan.state is LoanState.APPROVED and (
        was is None or was.state is LoanState.IN_REVIEW
    )
    paid_out = loan.disbursed_on is not None and (was is None or was.disbursed_on is None)
    if not (approved or paid_out):
        return
    for scope in scopes_of_loan(loan):
        breaker = session.db.tables["breaker"].get(scope)
        if breaker is not None and breaker.tripped:
            yield f"F13 loan {loan.loan_id} is {loan.state} in {scope}, where lending has stopped"


def _allocation(session: Session, was: Any, now: Any) -> Lines:
    payout_id, whole = now.payout.payout_id, now.payout.amount_fen
    lenders = sum(part.amount_fen for part in now.parts)
    if lenders + now.household_fen != whole or now.household_fen < 0:
        yield f"G3 payout {payout_id}: {lenders} and {now.household_fen} of {whole}"
    for part in now.parts:
        counted = 0
        held = session.get("posting", part.loan_id) or ()
        undone = {each.reverses for each in held if each.reverses}
        for each in held:
            mine = each.kind is PostingKind.PAYOUT and each.reference == str(payout_id)
            if mine and each.reverses is None and each.number not in undone:
                counted += each.amount_fen
        if counted != part.amount_fen:
            yield f"G2 payout {payout_id} gave loan {part.loan_id} {part.amount_fen}: {counted}"
        mirrored = sum(
            each.amount_fen
            for each in held
            if each.kind is PostingKind.PAYOUT_UNDONE and each.reference == str(payout_id)
        )
        if mirrored != (part.amount_fen if now.reversed_on else 0):
            yield f"F11 payout {payout_id}: {mirrored} of {part.amount_fen} mirrored"
    if was is None:
        yield from _ranked(session, now)
    if was is not None and was.reversed_on is not None:
        yield f"F11 payout {payout_id} was taken back before"


def _ranked(session: Session, now: Any) -> Lines:
    """Who comes later gets something only when all before it are owed nothing more."""
    took = {part.loan_id for part in now.parts}
    fresh = [each for each in _written(session, "allocation").values() if each.corrections == 0]
    if len(fresh) == 1:
        for part in now.parts:
            before = session.db.tables["loan"][part.loan_id]
            mine = min(part.amount_fen, before.subrogated_fen)
            if part.subrogated_fen != mine:
                yield f"G5 loan {part.loan_id}: {mine} of {part.amount_fen} is others'"
    if any(e.reversed_on or e.corrections for e in _written(session, "allocation").values()):
        # A payout of the batch was taken back or corrected: what remains shows nothing of this.
        return
    waiting: list[Any] = []
    for group in now.payout.groups:
        if waiting and took & set(group):
            yield f"G3 payout {now.payout.payout_id} went past {waiting}"
        for loan_id in group:
            loan = session.get("loan", loan_id)
            if loan is not None and loan.state is LoanState.ACTIVE and loan.owed_fen:
                waiting.append(loan_id)
    if waiting and now.household_fen:
        yield f"G3 payout {now.payout.payout_id} leaves the household a rest, {waiting} are owed"


# --- claims ---------------------------------------------------------------------------------------


def claims(session: Session) -> Lines:
    """G2, G3, F9, F11: what a payout is, who is instructed, who has confirmed."""
    changed = set(_written(session, "payout"))
    for key, now in _written(session, "instruction").items():
        changed.add(now.payout_id)
        yield from _instruction(session, session.db.tables["instruction"].get(key), now)
    for payout_id in changed:
        yield from _payout(session, session.get("payout", payout_id))
    for key, (receivable, _) in _written(session, "receivable").items():
        left = receivable.amount_fen - receivable.paid_fen
        if left < 0 or _booked(session, "payout_receivable", key) != left:
            yield f"F11 receivable {key} is {left}, its account disagrees"
    for claim in _written(session, "claim").values():
        most = min(claim.assessed_fen, session.get("sum_insured", claim.insured_id))
        if claim.payable_fen > most:
            yield f"F9 claim {claim.claim_id} pays {claim.payable_fen}, at most {most}"
        was = session.db.tables["claim"].get(claim.claim_id)
        if was is not None and was.state in (ClaimState.APPROVED, ClaimState.REFUSED):
            yield f"F9 claim {claim.claim_id} was {was.state} and is {claim.state}"


def _instruction(session: Session, was: Any, now: Any) -> Lines:
    name = now.instruction_id
    if was is not None:
        if (was.amount_fen, was.payee_id) != (now.amount_fen, now.payee_id):
            yield f"instruction {name} was changed"
        if was.state is InstructionState.CONFIRMED and was != now:
            yield f"instruction {name} was changed after it was confirmed"
    done = now.state is InstructionState.CONFIRMED
    left = 0 if done else now.amount_fen
    silent = now.state is InstructionState.UNKNOWN
    booked = (
        -_booked(session, "instruction_payable", name),
        -_booked(session, "payment_suspense", name),
    )
    if booked != ((0, left) if silent else (left, 0)):
        yield f"G5 instruction {name} is {now.state} of {now.amount_fen}, its accounts {booked}"
    if done and not 0 <= now.confirmed_fen <= now.amount_fen:
        yield f"instruction {name} of {now.amount_fen} is confirmed with {now.confirmed_fen}"
    if done and now.confirmed_fen < now.amount_fen and not now.correction:
        yield f"instruction {name}: {now.amount_fen - now.confirmed_fen} got lost"


def _given(each: Any) -> int:
    done = each.state is InstructionState.CONFIRMED
    return int(each.confirmed_fen if done else each.amount_fen)


def _payout(session: Session, payout: Any) -> Lines:
    name, whole = payout.payout_id, payout.amount_fen
    own = [each for each in session.rows("instruction") if each.payout_id == name]
    given = sum(map(_given, own))
    if -_booked(session, "payout_payable", name) != whole - given:
        yield f"G5 payout {name}: {given} of {whole} instructed, the account disagrees"
    if payout.state is PayoutState.AUTHORISED:
        return
    parts = sum(part.amount_fen for part in payout.parts)
    if parts != payout.lenders_fen or parts + payout.household_fen != whole:
        yield f"G3 payout {name} of {whole}: {parts}, {payout.lenders_fen}, {payout.household_fen}"
    answered = payout.corrections == payout.corrections_answered
    lenders = [each for each in own if each.payee_kind is PayeeKind.LENDER]
    instructed: Counter[Any] = Counter()
    for each in lenders:
        instructed[each.loan_id] += _given(each)
    due = {part.loan_id: part.amount_fen for part in payout.parts if part.amount_fen}
    if answered and {loan: fen for loan, fen in instructed.items() if fen} != due:
        yield f"G3 payout {name} instructs {dict(instructed)}, the parts are {due}"
    household = [each for each in own if each.payee_kind is PayeeKind.HOUSEHOLD]
    if sum(map(_given, household)) > payout.household_fen:
        yield f"G3 payout {name} gives the household too much"
    confirmed = answered and all(e.state is InstructionState.CONFIRMED for e in lenders)
    known = session.db.tables["instruction"]
    fresh = any(each.instruction_id not in known for each in household)
    if fresh and not confirmed and not payout.household_at_once:
        yield f"payout {name} pays the household before its lenders have confirmed"
    if payout.state in (PayoutState.SETTLED, PayoutState.REVERSED):
        paid = sum(each.confirmed_fen for each in own)
        if paid != whole:
            yield f"G5 payout {name} is {payout.state}, {paid} of {whole} was paid"
    yield from _taken_back(session, payout, own)


def _taken_back(session: Session, payout: Any, own: list[Any]) -> Lines:
    """What was taken back is owed by exactly those who had it."""
    back: Counter[tuple[str, str]] = Counter()
    for each, _ in session.rows("receivable"):
        if each.payout_id == payout.payout_id:
            back[each.debtor_kind, each.debtor_id] += each.amount_fen
    had: Counter[tuple[str, str]] = Counter()
    if payout.state is PayoutState.REVERSED:
        for each in own:
            if each.confirmed_fen:
                had[each.payee_kind, each.payee_id] += each.confirmed_fen
    if had != back:
        yield f"F11 payout {payout.payout_id} gave {dict(had)} and {dict(back)} is owed back"


# --- funds ----------------------------------------------------------------------------------------


def funds(session: Session) -> Lines:
    """G6, F12: what funds hold, stand behind and owe; how losses and recoveries are shared."""
    own = session.own
    touched = own.keys() & {"fund", "cover", "part", "recovery", "contribution"}
    for fund in session.rows("fund") if touched else ():
        yield from _fund(session, session.db.tables["fund"].get(fund.fund_id), fund)
    cases = set(_written(session, "case")) | {key[0] for key in _written(session, "part")}
    cases |= {each.case_id for each in _written(session, "recovery").values()}
    for case_id in cases:
        yield from _case(session, session.get("case", case_id))


def _fund(session: Session, was: Any, fund: Any) -> Lines:
    name = fund.fund_id
    parts = [each for each in session.rows("part") if each.fund_id == name]
    given = [each for each in session.rows("contribution") if each.fund_id == name]
    moved = sum(each.amount_fen for each in given)
    moved += sum(each.recovered_fen - each.paid_fen for each in parts)
    if fund.balance_fen != moved or fund.balance_fen != _booked(session, "fund_cash", name):
        yield f"G6 fund {name} holds {fund.balance_fen}, {moved} by its rows"
    owed = sum(each.amount_fen - each.paid_fen for each in parts)
    if fund.owed_fen != owed or _booked(session, "share_payable", name) != -owed:
        yield f"G6 fund {name} owes {fund.owed_fen}, {owed} by its parts"
    covers = [each for each in session.rows("cover") if each.fund_id == name]
    held = sum(each.principal_fen for each in covers if each.state is CoverState.RESERVED)
    if fund.covered_fen != held:
        yield f"F12 fund {name} stands behind {fund.covered_fen}, its covers are {held}"
    grew = fund.covered_fen > (was.covered_fen if was is not None else 0)
    if grew and fund.covered_fen > fund.balance_fen * county.MULTIPLE:
        yield f"F12 fund {name} stands behind {fund.covered_fen} with {fund.balance_fen}"


def _case(session: Session, case: Any) -> Lines:
    name = case.case_id
    was = session.db.tables["case"].get(name)
    said = session.get("statement", case.loan_id)
    # A repayment from before the statement may be undone after it: then more is owed than was said.
    since = [e for e in session.rows("payment") if e.loan_id == case.loan_id]
    paid = sum(e.paid.total_fen for e in since if e.business_date > case.stated_on)
    most = was.loss_fen if was is not None else max(said.owed.total_fen, said.owed.total_fen - paid)
    if case.loss_fen > most:
        yield f"case {name} claims {case.loss_fen}, at most {most} is owed"
    if case.state not in PAID:
        return
    parts = [each for each in session.rows("part") if each.case_id == name]
    if sum(each.amount_fen for each in parts) != case.loss_fen:
        yield f"case {name}: its parts do not sum to {case.loss_fen}"
    if session.get("cover", case.loan_id).state is CoverState.RESERVED:
        yield f"case {name} is paid and its cover still held"
    recoveries = [each for each in session.rows("recovery") if each.case_id == name]
    back: Counter[int] = Counter()
    for each in recoveries:
        shared = sum(fen for _, fen in each.shares)
        if shared + each.household_fen + each.costs_fen != each.amount_fen:
            yield f"recovery {each.recovery_id} of {each.amount_fen} shares {shared}"
        if not each.reversed:
            back.update(dict(each.shares))
    whole = sum(back.values())
    for part in parts:
        got = back[part.position]
        if got != part.recovered_fen:
            yield f"case {name}: {part.party} got {got}, {part.recovered_fen} is said"
        # In proportion to what each bore; each sharing may round by a fen.
        if (
            abs(got * case.loss_fen - whole * part.amount_fen)
            > (len(recoveries) + 1) * case.loss_fen
        ):
            yield f"case {name}: {part.party} got {got} of {whole}"


# --- at rest --------------------------------------------------------------------------------------


def at_rest(dbs: Mapping[str, Database], hears: Mapping[str, tuple[str, ...]]) -> Lines:
    """What services hold differently of one another when every event is heard (G5, G7-G9)."""
    for noun, db in dbs.items():
        for source in hears[noun]:
            for aggregate, last in dbs[source].said.items():
                if db.heard.get(aggregate, 0) != last:
                    yield f"G7 {noun} heard {aggregate} to {db.heard.get(aggregate, 0)} of {last}"
    yield from _payouts_agree(dbs)
    yield from _compensations_agree(dbs)
    yield from _subrogations_agree(dbs)
    yield from _losses_agree(dbs)
    yield from _covers_agree(dbs)
    yield from _replayed(dbs["loans"])


def _payouts_agree(dbs: Mapping[str, Database]) -> Lines:
    here, there = dbs["claims"].tables["payout"], dbs["loans"].tables["allocation"]
    if here.keys() != there.keys():
        yield f"G2 {len(here)} payouts were authorised, {len(there)} allocated"
    for payout_id in here.keys() & there.keys():
        payout, allocation = here[payout_id], there[payout_id]
        if payout.state not in (PayoutState.SETTLED, PayoutState.REVERSED):
            yield f"L1 payout {payout_id} is {payout.state} at rest"
        said = {part.loan_id: (part.amount_fen, part.subrogated_fen) for part in payout.parts}
        done = {
            part.loan_id: (part.amount_fen, part.subrogated_fen)
            for part in allocation.parts
            if part.amount_fen
        }
        if said != done:
            yield f"G3 payout {payout_id} is divided {said}, loans divided it {done}"
        if (payout.state is PayoutState.REVERSED) != (allocation.reversed_on is not None):
            yield f"F11 payout {payout_id} is {payout.state}, by loans the opposite"
    approved = [
        each for each in dbs["claims"].tables["claim"].values() if each.state is ClaimState.APPROVED
    ]
    if {each.payout_id for each in approved} != set(here):
        yield f"F9 {len(approved)} claims are approved, {len(here)} payouts are there"


def _compensations_agree(dbs: Mapping[str, Database]) -> Lines:
    cases = dbs["funds"].tables["case"].values()
    paid = {each.case_id: each.loss_fen for each in cases if each.state in PAID}
    noted = {key: each.loss_fen for key, (each, _) in dbs["loans"].tables["compensation"].items()}
    if paid != noted:
        yield f"G5 funds compensated {paid}, loans noted {noted}"
    losses = {each.loan_id: each.loss_fen for each in cases if each.state in PAID}
    for loan_id, loan in dbs["loans"].tables["loan"].items():
        fen = dbs["loans"].balances.get(("subrogated_debt", str(loan_id)), 0)
        # Booked as a credit when it is compensated, and taken off as it is given back.
        if -fen != loan.subrogated_fen:
            yield f"G5 loan {loan_id}: {loan.subrogated_fen} is others', {-fen} by its account"
        if not 0 <= loan.subrogated_fen <= losses.get(loan_id, 0):
            yield f"G5 loan {loan_id} owes others {loan.subrogated_fen}"


def _subrogations_agree(dbs: Mapping[str, Database]) -> Lines:
    """What a compensated loan's payouts gave belongs to those who paid, each payout once (S21)."""
    states = {key: each.state for key, each in dbs["claims"].tables["payout"].items()}
    loan_of = {key: each.loan_id for key, each in dbs["funds"].tables["case"].items()}
    due = {
        (str(payout_id), part.loan_id): part.subrogated_fen
        for payout_id, each in dbs["loans"].tables["allocation"].items()
        for part in each.parts
        if part.subrogated_fen and states.get(payout_id) is PayoutState.SETTLED
    }
    shared: Counter[Any] = Counter()
    for each in dbs["funds"].tables["recovery"].values():
        if each.source is Source.PAYOUT and not each.reversed:
            shared[each.reference, loan_of[each.case_id]] += each.amount_fen
    if due != +shared:
        yield f"G5 payouts gave others {due}, the funds shared {shared}"
    alive: Counter[Any] = Counter(
        each.loan_id
        for each in dbs["funds"].tables["case"].values()
        if each.state is not CaseState.DENIED
    )
    for loan_id, count in alive.items():
        if count > 1:
            yield f"loan {loan_id} has {count} cases"


def _losses_agree(dbs: Mapping[str, Database]) -> Lines:
    """What is left of a loss is the same on both sides, and no fen is the household's on both."""
    held = dbs["funds"].tables
    loans_ = dbs["loans"].tables["loan"]
    for case in held["case"].values():
        if case.state not in PAID:
            continue
        left = sum(
            each.amount_fen - each.recovered_fen
            for each in held["part"].values()
            if each.case_id == case.case_id
        )
        theirs = loans_[case.loan_id].subrogated_fen
        if left != theirs:
            yield f"G5 case {case.case_id}: {left} is left, by the loan {theirs} is others'"
    for each in held["recovery"].values():
        if each.reversed:
            continue
        # Only what somebody collected can be too much here: all else is in the loan's own book.
        if each.household_fen and not each.evidence:
            yield f"G5 recovery {each.recovery_id} gives the household what its loan has"
    for (case_id, source, reference), fen in _waiting(held["recovery"].values()).items():
        if fen:
            yield f"G5 case {case_id}: {fen} of {source} {reference} wait at rest"


def _waiting(recoveries: Iterable[Any]) -> Mapping[tuple[UUID, Source, str], Fen]:
    """What still waits of the same money: as its last turn has it."""
    turns = sorted((each for each in recoveries if not each.reversed), key=lambda each: each.turn)
    return {(each.case_id, each.source, each.reference): each.waiting_fen for each in turns}


def _covers_agree(dbs: Mapping[str, Database]) -> Lines:
    covers = dbs["funds"].tables["cover"]
    exposures: Counter[Any] = Counter()
    for loan_id, loan in dbs["loans"].tables["loan"].items():
        if loan.state not in (LoanState.REFUSED, LoanState.SETTLED):
            drawn = loan.disbursed_on is not None
            exposures[loan.household_id] += loan.outstanding_fen if drawn else loan.principal_fen
        if loan.state is LoanState.AWAITING_COVER:
            yield f"L1 loan {loan_id} waits for cover at rest"
        cover = covers.get(loan_id)
        if cover is None:
            continue
        held = cover.state is CoverState.RESERVED
        ended = loan.state in (LoanState.SETTLED, LoanState.REFUSED)
        if ended and held:
            yield f"F12 loan {loan_id} is {loan.state}, its cover is held"
        if loan.compensated and cover.state is not CoverState.COMPENSATED:
            yield f"F12 loan {loan_id} is compensated, its cover {cover.state}"
        if not ended and not loan.compensated and loan.covered != held:
            yield f"F12 loan {loan_id} is {loan.state}, covered {loan.covered}, cover {cover.state}"
    for household, fen in dbs["loans"].tables["exposure"].items():
        if fen != exposures[household]:
            yield f"household {household} owes {exposures[household]}, {fen} is said"


def _replayed(db: Database) -> Lines:
    """Every loan is its book worked again from the first day (G4, F20)."""
    terms_of = {ref: county.catalogue().terms(county.COUNTY, ref) for ref in county.PROGRAMMES}
    for loan_id, loan in db.tables["loan"].items():
        if loan.interest is None:
            continue
        terms = position.book_terms(loan, terms_of[loan.programme])
        held = position.position_of(loan)
        again = book.replay(terms, db.tables["posting"][loan_id], held.accrued_through).position
        if again != held:
            yield f"G4 loan {loan_id} is {held}, its book comes to {again}"


WATCHES = {"loans": loans, "claims": claims, "funds": funds}
