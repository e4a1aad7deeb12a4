"""Loans: applications, their chain, cover, disbursement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox, pauses
from services.kernel.errors import Denied, LiandongError, NotFound
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import (
    Application,
    Borrower,
    Decision,
    File,
    Listing,
    Loan,
    LoanState,
    StepTaken,
)
from services.loans.operations import projects, standing
from services.loans.operations.desk import Desk
from services.loans.operations.shared import (
    Outcome,
    breakers_of,
    found,
    require_our_book,
    said,
    share_breakers,
    share_breakers_of,
    terms_by_ref,
)
from services.loans.rules import clock, lending
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.chain import LENDERS_ONLY, Actor
from services.loans.rules.checks import Known
from services.loans.rules.scopes import scopes_of_application, scopes_of_loan
from services.loans.store import applications as files_store
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.settlement import Amounts
from services.programmes.terms import Terms


@dataclass
class _Intake:
    """What a batch of applications needs to know, and what it comes to."""

    county_code: str
    today: date
    now: datetime
    borrowers: dict[UUID, Borrower]
    listings: Sequence[Listing]
    open_loans: dict[tuple[UUID, str, str], int]
    lent: dict[tuple[str, str], Fen] = field(default_factory=dict)
    loans: list[Loan] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    steps: list[StepTaken] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)


async def apply_for_loans(
    session: AsyncSession,
    county_code: str,
    applications: Sequence[Application],
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
    *,
    person_id: str = "",
) -> list[Outcome]:
    """Take applications in; those that a rule forbids are kept as refused."""
    terms_of = terms_by_ref(catalogue, county_code)
    applications = await projects.by_register(session, county_code, applications)
    wanted = {each.household_id for each in applications}
    wanted |= {member for each in applications for member in each.stated.members}
    borrowers = await store.lock_borrowers(session, county_code, wanted)
    intake = _Intake(
        county_code,
        await business_day.today(session, county_code),
        await files_store.moment(session),
        borrowers,
        await files_store.listings_of(session, county_code, wanted),
        await files_store.open_loans(session, county_code, wanted),
    )
    scopes = [
        scope
        for each in applications
        if each.household_id in borrowers
        for scope in scopes_of_application(each, borrowers[each.household_id])
    ]
    breakers = await share_breakers(session, county_code, scopes, catalogue, intake.today)
    stopped = await pauses.stopped_products(session, county_code, map(_offer, applications))
    outcomes: list[Outcome] = []
    for application in applications:
        try:
            if (refusal := stopped.get(_offer(application))) is not None:
                raise refusal
            borrower = _borrower(borrowers, application)
            _require_near(borrower, application, may_act_in)
            ref = catalogue.in_force(county_code, application.programme_id, intake.today)
            terms = terms_of(ref)
            own = breakers_of(scopes_of_application(application, borrower), breakers)
            known = Known(
                borrower=borrower,
                members=tuple(borrowers.get(each) for each in application.stated.members),
                parties=catalogue.parties(county_code, ref),
                breakers=own,
                listings=_listings(application, terms, intake.listings),
                lent_fen=await _lent(session, intake, application, terms),
                open_loans=intake.open_loans.get(_product_key(application), 0),
            )
            taken = lending.take_in(
                application,
                known,
                loan_id=ids.new_id(),
                terms=terms,
                today=intake.today,
                now=intake.now,
            )
            outcomes.append(
                _keep(intake, application, known, taken, terms=terms, person_id=person_id)
            )
        except LiandongError as error:
            outcomes.append(error)
    await _write_intake(session, intake)
    used = [
        (loan, file.stated.project)
        for loan, file in zip(intake.loans, intake.files, strict=True)
        if file.stated.project is not None
    ]
    if used:
        by = Actor("", "", person_id)
        await projects.note_loans(session, county_code, used, by=by, on=intake.today)
    return outcomes


def _offer(application: Application) -> str:
    """The product as a pause names it."""
    return f"{application.programme_id}/{application.product_id}"


def _borrower(borrowers: Mapping[UUID, Borrower], application: Application) -> Borrower:
    borrower = borrowers.get(application.household_id)
    if borrower is None or not borrower.area_code:
        raise _household_unknown(application)
    return borrower


def _household_unknown(application: Application) -> NotFound:
    return NotFound(
        "HOUSEHOLD_UNKNOWN", f"no household {application.household_id}", message_zh="无此农户"
    )


def _require_near(
    borrower: Borrower, application: Application, may_act_in: Callable[[str], None]
) -> None:
    """Another area's household is as good as none."""
    try:
        may_act_in(borrower.area_code)
    except Denied as error:
        raise _household_unknown(application) from error


def _product_key(application: Application) -> tuple[UUID, str, str]:
    return application.household_id, application.programme_id, application.product_id


def _listings(application: Application, terms: Terms, listings: Sequence[Listing]) -> list[Listing]:
    """Whose sanctions count: the borrower's, and those of all who answer jointly."""
    group = terms.product(application.product_id).group
    who = {application.household_id}
    if group is not None and group.liability == "joint":
        who |= set(application.stated.members)
    return [each for each in listings if each.household_id in who]


async def _lent(
    session: AsyncSession, intake: _Intake, application: Application, terms: Terms
) -> Fen:
    product = terms.product(application.product_id)
    if product.line_fen is None and product.backing is None:
        return Fen(0)
    key = (split_ref(terms.ref)[0], product.id)
    if key not in intake.lent:
        intake.lent[key] = await files_store.lent_under(session, intake.county_code, *key)
    return intake.lent[key]


def _keep(
    intake: _Intake,
    application: Application,
    known: Known,
    taken: lending.TakenIn,
    *,
    terms: Terms,
    person_id: str,
) -> Loan:
    """Put an application that was decided on among what will be written; the loan as it is."""
    loan = said(taken.loan)
    intake.events.append(events_out.loan_applied(loan, intake.today))
    file = File(
        loan_id=loan.loan_id,
        borrower_kind=known.borrower.entity_kind or "household",
        stated=application.stated,
        applied_by=person_id,
        findings=taken.findings,
    )
    loan, file = clock.start(loan, file, terms, today=intake.today, now=intake.now)
    decided = lending.approve_by_machine(
        loan, file, terms=terms, breakers=known.breakers, today=intake.today
    )
    if decided is not None:
        loan, file = decided.loan, replace(file, contract=decided.contract)
        intake.steps.append(_by_machine(loan, decided, intake.today))
    loan, event = tell(loan, intake.today)
    intake.events += event
    if loan.state is not LoanState.REFUSED:
        # A later application in this batch sees what this one asked for.
        borrower = known.borrower
        intake.borrowers[borrower.household_id] = replace(
            borrower, exposure_fen=Fen(borrower.exposure_fen + loan.principal_fen)
        )
        key = (split_ref(loan.programme)[0], loan.product_id)
        if key in intake.lent:
            intake.lent[key] = Fen(intake.lent[key] + loan.principal_fen)
        of = _product_key(application)
        intake.open_loans[of] = intake.open_loans.get(of, 0) + 1
    intake.loans.append(loan)
    intake.files.append(file)
    return loan


def _by_machine(loan: Loan, decided: lending.Decided, today: date) -> StepTaken:
    step = decided.step
    return StepTaken(
        loan_id=loan.loan_id,
        number=1,
        step=step.step,
        organ=step.organ.value,
        body=step.body or "",
        institution_id=loan.lender_id,
        person_id="machine",
        approved=decided.contract is not None,
        reason=",".join(loan.refusal_reasons),
        evidence="",
        taken_on=today,
    )


async def _write_intake(session: AsyncSession, intake: _Intake) -> None:
    await store.insert_loans(session, intake.loans)
    await files_store.insert_files(session, intake.county_code, intake.files)
    await files_store.add_steps(session, intake.county_code, intake.steps)
    await store.add_exposure(
        session,
        intake.county_code,
        [
            (loan.household_id, loan.principal_fen)
            for loan in intake.loans
            if loan.state is not LoanState.REFUSED
        ],
    )
    await outbox.record(session, intake.events)


def tell(loan: Loan, today: date) -> tuple[Loan, list[OutgoingEvent]]:
    """Say what state a loan has come to, where others hear of it."""
    if loan.state not in _SAID_BY_STATE:
        return loan, []
    loan = said(loan)
    return loan, [_SAID_BY_STATE[loan.state](loan, today)]


async def decide_applications(
    session: AsyncSession,
    county_code: str,
    decisions: Sequence[Decision],
    actor: Actor,
    *,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> list[Outcome]:
    """Decide one step of each application."""
    today = await business_day.today(session, county_code)
    now = await files_store.moment(session)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, {d.loan_id for d in decisions})
    files = await files_store.files_of(session, county_code, loans)
    breakers = await share_breakers_of(session, county_code, loans.values(), catalogue, today)
    barred = await standing.barred(session, county_code, loans, terms_of)
    outcomes: list[Outcome] = []
    events: list[OutgoingEvent] = []
    steps: list[StepTaken] = []
    changed: dict[UUID, Loan] = {}
    for decision in decisions:
        try:
            loan = found(loans, decision.loan_id)
            lending.require_near(loan, may_act_in)
            if actor.role in LENDERS_ONLY:
                lending.require_lender(loan, actor)
            if decision.approve and loan.loan_id in barred:
                raise barred[loan.loan_id]
            terms = terms_of(loan.programme)
            decided = lending.take_step(
                loan,
                decision,
                actor=actor,
                terms=terms,
                breakers=breakers_of(scopes_of_loan(loan), breakers),
                today=today,
                parties=catalogue.parties(county_code, loan.programme),
                file=files.get(loan.loan_id),
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        steps.append(_taken(decided, decision, actor, today))
        loan, file = decided.loan, files.get(loan.loan_id)
        if file is not None:
            rate = decision.proposed_rate_ppm or file.stated.proposed_rate_ppm
            file = replace(
                file,
                stated=replace(file.stated, proposed_rate_ppm=rate),
                contract=decided.contract or file.contract,
            )
            loan, file = clock.start(loan, file, terms, today=today, now=now)
            files[loan.loan_id] = file
        loan, event = tell(loan, today)
        events += event
        loans[loan.loan_id] = changed[loan.loan_id] = loan
        outcomes.append(loan)
    await store.save_loans(session, list(changed.values()))
    await files_store.save_files(
        session, county_code, [files[loan_id] for loan_id in changed if loan_id in files]
    )
    await files_store.add_steps(session, county_code, steps)
    await give_back_exposure(session, county_code, list(changed.values()))
    await outbox.record(session, events)
    return outcomes


def _taken(decided: lending.Decided, decision: Decision, actor: Actor, today: date) -> StepTaken:
    return StepTaken(
        loan_id=decision.loan_id,
        number=len(decided.loan.decided),
        step=decision.step,
        organ=decided.step.organ.value,
        body=decided.step.body or "",
        institution_id=actor.institution_id,
        person_id=actor.person_id,
        approved=decision.approve,
        reason=decision.reason,
        evidence=decision.evidence,
        taken_on=today,
    )


_SAID_BY_STATE: Mapping[LoanState, Callable[[Loan, date], OutgoingEvent]] = {
    LoanState.AWAITING_COVER: events_out.cover_requested,
    LoanState.APPROVED: events_out.loan_approved,
    LoanState.REFUSED: events_out.loan_refused,
}


async def give_back_exposure(
    session: AsyncSession, county_code: str, loans: Sequence[Loan]
) -> None:
    """What refused loans had taken of their borrowers' limits is free again."""
    refused = [ln for ln in loans if ln.state is LoanState.REFUSED]
    await store.add_exposure(
        session, county_code, [(ln.household_id, -ln.principal_fen) for ln in refused]
    )


async def take_cover_answers(
    session: AsyncSession,
    county_code: str,
    answers: Sequence[tuple[UUID, str]],
    today: date,
    catalogue: Catalogue,
) -> None:
    """Take the fund's answers (loan, reason of a refusal or ''); the machine goes on at once."""
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, {loan_id for loan_id, _ in answers})
    files = await files_store.files_of(session, county_code, loans)
    breakers = await share_breakers_of(session, county_code, loans.values(), catalogue, today)
    barred = await standing.barred(session, county_code, loans, terms_of)
    changed: dict[UUID, Loan] = {}
    events: list[OutgoingEvent] = []
    steps: list[StepTaken] = []
    for loan_id, refusal in answers:
        if loan_id not in loans:
            continue
        loan = lending.cover_answered(loans[loan_id], refusal)
        if loan is loans[loan_id]:
            continue
        file = files.get(loan_id)
        if file is not None and loan.state is LoanState.IN_REVIEW and loan_id not in barred:
            decided = lending.approve_by_machine(
                loan,
                file,
                terms=terms_of(loan.programme),
                breakers=breakers_of(scopes_of_loan(loan), breakers),
                today=today,
            )
            if decided is not None:
                loan = decided.loan
                files[loan_id] = replace(file, contract=decided.contract)
                steps.append(_by_machine(loan, decided, today))
        if loan.state is not LoanState.APPROVED or loans[loan_id].next_step:
            loan, event = tell(loan, today)
            events += event
        loans[loan_id] = changed[loan_id] = loan
    await store.save_loans(session, list(changed.values()))
    await files_store.save_files(
        session, county_code, [files[each] for each in changed if each in files]
    )
    await files_store.add_steps(session, county_code, steps)
    await give_back_exposure(session, county_code, list(changed.values()))
    await outbox.record(session, events)


async def note(
    session: AsyncSession,
    county_code: str,
    changes: Sequence[tuple[UUID, Callable[[Loan], Loan]]],
) -> None:
    """Write facts of other services on loans; nothing is said of it."""
    loans = await store.lock_loans(session, county_code, {loan_id for loan_id, _ in changes})
    changed: dict[UUID, Loan] = {}
    for loan_id, change in changes:
        if loan_id in loans:
            loans[loan_id] = changed[loan_id] = change(loans[loan_id])
    await store.save_loans(session, list(changed.values()))


async def disburse_loans(
    session: AsyncSession,
    county_code: str,
    loan_ids: Sequence[UUID],
    actor: Actor,
    catalogue: Catalogue,
) -> list[Outcome]:
    """Pay out approved loans."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    now = await files_store.moment(session)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, set(loan_ids))
    files = await files_store.files_of(session, county_code, loans)
    breakers = await share_breakers_of(session, county_code, loans.values(), catalogue, today)
    barred = await standing.barred(session, county_code, loans, terms_of)
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    outcomes: list[Outcome] = []
    done: list[File] = []
    for loan_id in loan_ids:
        try:
            loan = found(loans, loan_id)
            lending.require_lender(loan, actor)
            if loan_id in barred:
                raise barred[loan_id]
            terms = terms_of(loan.programme)
            loan = lending.disburse(
                loan,
                actor=actor,
                terms=terms,
                breakers=breakers_of(scopes_of_loan(loan), breakers),
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        if loan_id in files:
            done.append(clock.stop(loan, files[loan_id], terms, today=today, now=now))
        loans[loan_id] = loan
        outcomes.append(pay_out(desk, loan, loan.principal_fen, today))
    await desk.write(session)
    await files_store.save_files(session, county_code, done)
    return outcomes


def pay_out(desk: Desk, loan: Loan, amount_fen: Fen, today: date, reference: str = "") -> Loan:
    """Post money that goes out, the first or a further part, and say it."""
    first = loan.interest is None
    paid = Amounts(principal_fen=amount_fen)
    desk.post(
        loan.loan_id,
        Posting(
            0,
            PostingKind.DISBURSEMENT,
            today,
            fixed=paid,
            rate_ppm=loan.rate_ppm,
            reference=reference,
        ),
    )
    if first:
        return desk.say(loan.loan_id, lambda now: events_out.loan_disbursed(now, today, amount_fen))
    return desk.say(loan.loan_id, lambda now: events_out.loan_drawn(now, amount_fen, today))
