"""What institutions ask for in a history: rightly, too much, too late, or again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.claims.model import (
    Actor,
    Claim,
    ClaimState,
    InstructionState,
    Payout,
    PayoutState,
    ReceivablePayment,
    ReversalState,
    Said,
    Word,
)
from services.claims.model import Decision as Adjudication
from services.claims.operations import claims_decisions, payments, payouts, reversals
from services.funds.model import CaseState, Collected, Decision, Filing
from services.funds.operations import cases, funds, recoveries
from services.funds.operations.funds import Arrived
from services.kernel.errors import Conflict, LiandongError
from services.kernel.money import Fen
from services.loans.model import Decision as Step
from services.loans.model import Loan, LoanState, Repayment, Undoing
from services.loans.operations import drawing, lending, money
from services.loans.rules.book import PostingKind
from tests.sim import county, world
from tests.sim.county import COUNTY, INSURER, LENDERS, actor, caller
from tests.sim.memory import Database, Session
from tests.sim.world import NOUNS, Command

if TYPE_CHECKING:
    from tests.sim.history import History

CLAIMS_MAX = 3
Act = Callable[..., Command | None]


def anywhere(_: str) -> None:
    """Every area is the actor's."""


def _choose(history: History, rows: Sequence[Any]) -> Any:
    return rows[history.rng.randrange(len(rows))]


def rows_of(history: History, noun: str, table: str) -> list[Any]:
    return list(history.world.dbs[noun].tables[table].values())


def _amount(history: History, owed: int) -> Fen:
    """Some, all, one fen more or much more than is owed."""
    luck = history.rng.random()
    if luck < 0.25:
        return Fen(max(1, owed))
    if luck < 0.35:
        return Fen(owed + 1)
    if luck < 0.45:
        return Fen(owed * 2 + 7)
    return Fen(history.rng.randint(1, max(1, owed)))


def _only(outcomes: Sequence[Any]) -> Any:
    """What became of the one item: it is answered, or refused and undone."""
    (outcome,) = outcomes
    if isinstance(outcome, LiandongError):
        raise outcome
    return outcome


async def _one(outcomes: Any) -> Any:
    return _only(await outcomes)


def recommend(history: History, loan: Loan | None = None) -> Command | None:
    """The county's step, then the lender's; each by another person."""
    found = [each for each in rows_of(history, "loans", "loan") if each.disbursed_on is None]
    if not found:
        return None
    loan = loan or _choose(history, found)
    step = loan.next_step or "bank_approves"
    by_county = step == "county_recommends"
    who = actor("cfc-1") if by_county else actor(loan.lender_id, 2)
    decision = Step(
        loan.loan_id, step, history.calm or history.rng.random() < 0.96, "looked at", who.person_id
    )

    def work(session: Session) -> Any:
        return _one(
            lending.decide_applications(
                session,  # type: ignore[arg-type]
                COUNTY,
                [decision],
                who,
                catalogue=county.catalogue(),
                may_act_in=anywhere,
            )
        )

    return history.command("loans", "decide", who.institution_id, (step, loan.loan_id), work)


def disburse(history: History, loan: Loan | None = None) -> Command | None:
    """A lender pays out what was approved, by a third person."""
    found = [each for each in rows_of(history, "loans", "loan") if each.disbursed_on is None]
    if not found:
        return None
    ready = [each for each in found if each.state is LoanState.APPROVED]
    loan = loan or _choose(history, ready or found)
    who = actor(loan.lender_id, 3)

    def work(session: Session) -> Any:
        return _one(
            lending.disburse_loans(
                session,  # type: ignore[arg-type]
                COUNTY,
                [loan.loan_id],
                who,
                county.catalogue(),
            )
        )

    return history.command("loans", "disburse", who.institution_id, (loan.loan_id,), work)


def ask_cover_again(history: History) -> Command | None:
    """The lender asks the fund once more, or the borrower withdraws."""
    found = [each for each in rows_of(history, "loans", "loan") if each.disbursed_on is None]
    if not found:
        return None
    loan = _choose(history, found)
    who = actor(loan.lender_id)
    if history.rng.random() < 0.15:
        cancel = partial(
            drawing.cancel,
            county_code=COUNTY,
            loan_id=loan.loan_id,
            actor=who,
            catalogue=county.catalogue(),
            may_act_in=anywhere,
        )
        return history.command("loans", "cancel", loan.lender_id, (loan.loan_id,), cancel)
    ask = partial(
        drawing.ask_cover_again,
        county_code=COUNTY,
        loan_id=loan.loan_id,
        actor=who,
        catalogue=county.catalogue(),
    )
    return history.command("loans", "ask_cover", loan.lender_id, (loan.loan_id,), ask)


def repay(history: History) -> Command | None:
    """A lender reports money, of today or of a day before."""
    found = [each for each in rows_of(history, "loans", "loan") if each.disbursed_on]
    if not found:
        return None
    loan = _choose(history, found)
    fen = _amount(history, loan.owed_fen)
    today = history.world.dbs["loans"].day
    on = today
    if history.rng.random() < 0.25:
        on -= timedelta(days=history.rng.randint(0, max(0, (today - loan.disbursed_on).days)))
    repayment = Repayment(loan.loan_id, fen, on)

    def work(session: Session) -> Any:
        return _one(
            money.repay_loans(
                session,  # type: ignore[arg-type]
                COUNTY,
                [repayment],
                actor(loan.lender_id),
                county.catalogue(),
            )
        )

    return history.command("loans", "repay", loan.lender_id, (loan.loan_id, fen, on), work)


def undo_repayment(history: History) -> Command | None:
    """A repayment was a mistake; so may what somebody collected seem to its lender."""
    books = history.world.dbs["loans"].tables["posting"]
    found = [
        (loan_id, each)
        for loan_id, postings in books.items()
        for each in postings
        if each.kind is PostingKind.REPAYMENT
    ]
    if not found:
        return None
    collected = [each for each in found if each[1].reference]
    if collected and history.rng.random() < 0.5:
        found = collected
    loan_id, posting = _choose(history, found)
    loan = history.world.dbs["loans"].tables["loan"][loan_id]
    undoing = Undoing(loan_id, posting.number, "a mistake")
    work = partial(
        money.reverse_repayment,
        county_code=COUNTY,
        undoing=undoing,
        actor=actor(loan.lender_id),
        catalogue=county.catalogue(),
    )
    return history.command("loans", "undo", loan.lender_id, (loan_id, posting.number), work)


def refund(history: History) -> Command | None:
    """What was paid too much is given back, or a fen more than that."""
    found = [each for each in rows_of(history, "loans", "loan") if each.suspense_fen]
    if not found:
        return None
    loan = _choose(history, found)
    fen = Fen(loan.suspense_fen + history.rng.choice((0, 0, 1)))
    on = history.world.dbs["loans"].day
    work = partial(
        money.refund_overpayment,
        county_code=COUNTY,
        refund=Repayment(loan.loan_id, fen, on),
        actor=actor(loan.lender_id),
        catalogue=county.catalogue(),
    )
    return history.command("loans", "refund", loan.lender_id, (loan.loan_id, fen), work)


def report(history: History) -> Command | None:
    """A loss is reported; a day's loss of a household once a cover."""
    household, insured = _choose(history, rows_of(history, "claims", "sum_insured_of"))
    owed = sum(
        each.owed_fen
        for each in rows_of(history, "loans", "loan")
        if each.household_id == household
    )
    fen = _amount(history, max(owed, 1_000))
    cover = history.rng.choice(county.COVERS)
    on = history.world.dbs["claims"].day
    claim = _claim(history, world.new_id(), (household, insured), cover, fen)

    async def work(session: Session) -> Any:
        for held in session.rows("claim"):
            if (held.household_id, held.cover_id, held.loss_date) == (household, cover, on):
                raise Conflict("CLAIM_EXISTS", "this loss is reported")
        session.add("claim", claim.claim_id, claim)
        return claim

    return history.command("claims", "report", "cfc-1", (household, cover, fen, on), work)


def _claim(history: History, claim_id: UUID, own: tuple[UUID, UUID], cover: str, fen: Fen) -> Claim:
    loan = rows_of(history, "loans", "loan")[0]
    household, insured = own
    on = history.world.dbs["claims"].day
    return Claim(
        county_code=COUNTY,
        claim_id=claim_id,
        version=0,
        household_id=household,
        area_code=county.VILLAGE,
        cover_id=cover,
        policy_id=insured,
        insured_id=insured,
        loan_id=None,
        insurer_id=INSURER,
        lender_id="",
        programme=loan.programme,
        loss_date=on,
        cause="storm",
        assessed_fen=fen,
        documents=("sha256:cd",),
        reported_by=Actor("cfc-1", "cfc-1-p1"),
        reported_on=on,
        accepted_on=on,
        claimed_fen=fen,
    )


def adjudicate(history: History) -> Command | None:
    """The insurer decides a claim, sometimes one that it has decided."""
    found = rows_of(history, "claims", "claim")
    if not found:
        return None
    waiting = [each for each in found if each.state is ClaimState.REPORTED]
    claim = _choose(history, waiting if waiting and history.rng.random() < 0.9 else found)
    decision = Adjudication(claim.claim_id, history.rng.random() < 0.95, "looked at")

    def work(session: Session) -> Any:
        return _one(
            claims_decisions.adjudicate_claims(
                session,  # type: ignore[arg-type]
                county.catalogue(),
                caller(INSURER, 2),
                COUNTY,
                [decision],
            )
        )

    return history.command("claims", "adjudicate", INSURER, (claim.claim_id,), work)


def say(history: History) -> Command | None:
    """Somebody says something of a payment: rightly, too much, too little, again, or asks."""
    found = rows_of(history, "claims", "instruction")
    if not found:
        return None
    waiting = [each for each in found if each.state is not InstructionState.CONFIRMED]
    each = _choose(history, waiting if waiting and history.rng.random() < 0.95 else found)
    payee = INSURER if each.loan_id is None else each.payee_id
    on = history.world.dbs["claims"].day
    rng = history.rng
    if each.state is InstructionState.UNKNOWN:
        said = rng.choice((Said.DONE, Said.DONE, Said.NOT_RECEIVED, Said.REFUSED, Said.ASK))
    elif each.state in (InstructionState.NOT_RECEIVED, InstructionState.HELD):
        said = Said.RESEND
    else:
        said = rng.choice((Said.CONFIRM, Said.CONFIRM, Said.CONFIRM, Said.SETTLED, Said.REJECTED))
    who = INSURER if said in (Said.ASK, Said.RESEND, Said.SETTLED, Said.REJECTED) else payee
    off = rng.choice((0, 0, 0, 0, 0, 0, 1, -1, -each.amount_fen // 3, -each.amount_fen))
    if said is not Said.CONFIRM:
        off = 0
    reason = "OVERPAID" if off < 0 and rng.random() < 0.8 else "ACCOUNT_CLOSED"
    kept = Fen(max(0, each.amount_fen + off))
    word = Word(said, each.instruction_id, kept, on, reason)
    return _word(history, who, word)


def _word(history: History, who: str, word: Word) -> Command:
    def work(session: Session) -> Any:
        return _one(
            payouts.take_words(
                session,  # type: ignore[arg-type]
                county.catalogue(),
                caller(who),
                COUNTY,
                [word],
            )
        )

    request = (word.said.value, word.instruction_id, word.amount_fen)
    return history.command("claims", "say", who, request, work)


def take_back(history: History) -> Command | None:
    """The insurer asks for a payout back, or another person of it decides."""
    asked = [e for e in rows_of(history, "claims", "reversal") if e.state is ReversalState.ASKED]
    if asked and history.rng.random() < 0.8:
        reversal = _choose(history, asked)
        by = caller(INSURER, history.rng.choice((1, 2, 2, 2)))
        approve = history.rng.random() < 0.9
        decide = partial(
            reversals.decide,
            caller=by,
            county_code=COUNTY,
            reversal_id=reversal.reversal_id,
            approve=approve,
        )
        request = (reversal.reversal_id, by.person_id, approve)
        return history.command("claims", "decide_reversal", INSURER, request, decide)
    found = rows_of(history, "claims", "payout")
    if not found:
        return None
    settled = [each for each in found if each.state is PayoutState.SETTLED]
    payout: Payout = _choose(history, settled or found)
    ask = partial(
        reversals.ask,
        caller=caller(INSURER),
        county_code=COUNTY,
        payout_id=payout.payout_id,
        reason="FRAUD",
        evidence="sha256:aa",
    )
    return history.command("claims", "ask_reversal", INSURER, (payout.payout_id,), ask)


def pay_back(history: History) -> Command | None:
    """Somebody gives back of a payout that was taken back: some, all, or too much."""
    owed = [
        each
        for each, _ in rows_of(history, "claims", "receivable")
        if each.paid_fen < each.amount_fen
    ]
    if not owed:
        return None
    each = _choose(history, owed)
    fen = _amount(history, each.amount_fen - each.paid_fen)
    paid = ReceivablePayment(each.receivable_id, fen, history.world.dbs["claims"].day, "ref")
    work = partial(reversals.take_payment, caller=caller(INSURER), county_code=COUNTY, payment=paid)
    return history.command("claims", "pay_back", INSURER, (each.receivable_id, fen), work)


def file(history: History) -> Command | None:
    """A lender files a loss: of a loan that is overdue long enough, or that is not."""
    stated = history.world.dbs["funds"].tables["statement"]
    loans = history.world.dbs["loans"].tables["loan"]
    found = list(stated) or list(history.world.dbs["funds"].tables["cover"])
    if not found:
        return None
    loan: Loan = loans[_choose(history, found)]
    filing = Filing(loan.loan_id, "default", ("sha256:ef",))

    def work(session: Session) -> Any:
        return _one(
            cases.file_cases(
                session,  # type: ignore[arg-type]
                county.catalogue(),
                caller(loan.lender_id),
                COUNTY,
                [filing],
            )
        )

    return history.command("funds", "file", loan.lender_id, (loan.loan_id,), work)


def decide(history: History) -> Command | None:
    """The centre decides a case, sometimes one that it has decided."""
    found = rows_of(history, "funds", "case")
    if not found:
        return None
    waiting = [each for each in found if each.state is CaseState.FILED]
    case = _choose(history, waiting or found)
    decision = Decision(case.case_id, history.rng.random() < 0.9, "looked at")

    def work(session: Session) -> Any:
        return _one(
            cases.decide_cases(
                session,  # type: ignore[arg-type]
                county.catalogue(),
                caller("cfc-1", 2),
                COUNTY,
                [decision],
            )
        )

    return history.command("funds", "decide", "cfc-1", (case.case_id, decision.approve), work)


def collect(history: History) -> Command | None:
    """Somebody collects of a compensated loan: some of it goes into costs."""
    found = [e for e in rows_of(history, "funds", "case") if e.state is CaseState.PAID]
    if not found:
        return None
    case = _choose(history, found)
    fen = _amount(history, case.loss_fen)
    costs = Fen(history.rng.choice((0, 0, int(fen) // 10)))
    on = history.world.dbs["funds"].day
    name = f"court-{history.rng.getrandbits(30)}"
    collected = Collected(case.case_id, fen, costs, on, ("sha256:cc",), name)
    work = partial(
        recoveries.record_recovery,
        caller=caller("cfc-1"),
        county_code=COUNTY,
        collected=collected,
    )
    return history.command("funds", "collect", "cfc-1", (case.case_id, fen, name), work)


def give(history: History) -> Command | None:
    """The treasury tops the fund up."""
    return give_some(history, history.rng.randint(1, 60_000))


def give_some(history: History, fen: int) -> Command:
    fund = rows_of(history, "funds", "fund")[0]
    on = history.world.dbs["funds"].day
    arrived = Arrived(COUNTY, fund.fund_id, "county_budget", Fen(fen), on)

    def work(session: Session) -> Any:
        return funds.record_contribution(
            session,  # type: ignore[arg-type]
            county.catalogue(),
            caller("fin-1"),
            arrived,
        )

    return history.command("funds", "give", "fin-1", (fund.fund_id, fen), work)


def confirm_share(history: History) -> Command | None:
    """A lender says that an institution's share has come: what is owed, or a fen more."""
    owed = [
        each for each in rows_of(history, "funds", "part") if each.owed_fen and not each.fund_id
    ]
    if not owed:
        return None
    part = _choose(history, owed)
    case = history.world.dbs["funds"].tables["case"][part.case_id]
    fen = _amount(history, part.owed_fen)
    on = history.world.dbs["funds"].day
    work = partial(
        recoveries.confirm_share,
        caller=caller(case.lender_id),
        county_code=COUNTY,
        case_id=case.case_id,
        position=part.position,
        amount_fen=fen,
        value_date=on,
        reference="share",
    )
    request = (case.case_id, part.position, fen)
    return history.command("funds", "confirm_share", case.lender_id, request, work)


def give_account(history: History) -> bool:
    """Households without an account get one: what is held for them is sent."""
    db = history.world.dbs["claims"]
    waiting = [
        household
        for household, _ in rows_of(history, "claims", "sum_insured_of")
        if household not in db.tables["account"]
    ]
    for household in waiting:
        rows = [(COUNTY, household, world.new_id(), LENDERS[0], db.day)]

        def work(session: Session, rows: Any = rows) -> Any:
            return payments.keep_accounts(session, county.catalogue(), rows)  # type: ignore[arg-type]

        history.world.broken += world.alone(db, work)[1]
    return bool(waiting)


def confirm_all(history: History) -> bool:
    """Whoever has not said so yet has its money; whether anybody had to."""
    found = [
        each
        for each in rows_of(history, "claims", "instruction")
        if each.state is not InstructionState.CONFIRMED
    ]
    db = history.world.dbs["claims"]
    for before in found:
        each = db.tables["instruction"][before.instruction_id]
        payee = INSURER if each.loan_id is None else each.payee_id
        if each.state in (InstructionState.NOT_RECEIVED, InstructionState.HELD):
            history.send(_word(history, INSURER, _plain(each, Said.RESEND, db)))
        elif each.state is InstructionState.UNKNOWN:
            history.send(_word(history, payee, _plain(each, Said.DONE, db)))
        elif each.state is InstructionState.OPEN:
            history.send(_word(history, payee, _plain(each, Said.CONFIRM, db)))
        history.check()
    return bool(found)


def _plain(each: Any, said: Said, db: Database) -> Word:
    return Word(said, each.instruction_id, each.amount_fen, db.day, "")


ANY: Sequence[Act] = (
    *(repay, repay, undo_repayment, refund, recommend, disburse, ask_cover_again),
    *(say, report, adjudicate, take_back, pay_back, file, decide, give, collect, confirm_share),
)


def useful(history: History) -> list[Act]:
    """What somebody waits for, in proportion to how much hangs on it."""
    found: list[Act] = []
    loans, claims, funds_ = (history.world.dbs[noun].tables for noun in NOUNS)
    for loan in loans["loan"].values():
        if loan.disbursed_on is not None:
            found.append(repay if loan.owed_fen else undo_repayment)
        elif loan.state is LoanState.IN_REVIEW:
            found += (recommend, recommend)
        elif loan.state is LoanState.APPROVED:
            found += (disburse, disburse, ask_cover_again)
    active = any(each.disbursed_on is not None for each in loans["loan"].values())
    if active and len(claims["claim"]) < CLAIMS_MAX:
        found += (report, report)
    if any(each.state is ClaimState.REPORTED for each in claims["claim"].values()):
        found += (adjudicate, adjudicate, adjudicate)
    for each in claims["instruction"].values():
        if each.state is not InstructionState.CONFIRMED:
            found += (say, say)
    if any(each.state is PayoutState.SETTLED for each in claims["payout"].values()):
        found += (take_back, take_back)
    if any(each.state is ReversalState.ASKED for each in claims["reversal"].values()):
        found += (take_back, take_back, take_back, take_back)
    if len(claims["receivable"]) > len(claims["receipt"]):
        found.append(pay_back)
    if len(funds_["statement"]) > len(funds_["case"]):
        found += (file, file)
    for each in funds_["case"].values():
        if each.state is CaseState.FILED:
            found += (decide, decide, decide)
        elif each.state is CaseState.PAID:
            found += (collect, collect, confirm_share, give, repay, undo_repayment)
    return found
