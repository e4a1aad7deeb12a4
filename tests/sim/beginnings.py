"""Where histories begin: a county that has come so far, made once and copied."""

from functools import cache
from random import Random
from uuid import UUID

from services.funds.model import Fund, FundState
from services.kernel.money import Fen
from services.loans.model import Loan, LoanState
from tests.sim import county, invariants, world
from tests.sim.acts import (
    adjudicate,
    confirm_all,
    decide,
    disburse,
    file,
    give_some,
    recommend,
    report,
    rows_of,
)
from tests.sim.county import COUNTY, LENDERS
from tests.sim.history import History
from tests.sim.memory import Database
from tests.sim.world import NOUNS, World

TEMPLATES = 48
"""So many beginnings there are; a seed begins at one and goes on its own way."""


@cache
def template(place: int) -> World:
    """A county as far as it has come when the disorder begins; made once, and copied."""
    world.seed_ids(-1 - place)
    rng = Random(-1 - place)
    dbs = {noun: Database(noun, world.TABLES[noun]) for noun in NOUNS}
    for noun, db in dbs.items():
        db.day = county.OPENED
        db.watch = invariants.WATCHES[noun]
    history = History(-1 - place, World(dbs), calm=True)
    history.rng = rng
    programme = county.PROGRAMMES[place % 2]
    _found(dbs, programme)
    history.send(give_some(history, rng.choice([12_000, 20_000, 90_000, 400_000])))
    households = [world.new_id() for _ in range(rng.choice([1, 1, 2]))]
    for household in households:
        insured = world.new_id()
        dbs["claims"].tables["sum_insured"][insured] = Fen(3_000_000)
        dbs["claims"].tables["sum_insured_of"][household] = (household, insured)
        if rng.random() < 0.8:
            dbs["claims"].tables["account"][household] = world.new_id()
        for lender in rng.sample(LENDERS, rng.choice([1, 2, 2, 3])):
            _apply(dbs, rng, household, lender, programme)
    _grow(history, place // 2 % 6)
    history.quiet()
    history.check()
    return history.world


def _found(dbs: dict[str, Database], programme: str) -> None:
    fund = Fund(
        county_code=COUNTY,
        fund_id=world.new_id(),
        programme_id=programme.split("@", maxsplit=1)[0],
        kind="county_fund",
        institution_id="fin-1",
        state=FundState.OPEN,
        balance_fen=Fen(0),
        covered_fen=Fen(0),
        owed_fen=Fen(0),
        leverage_reached=False,
        version=0,
    )
    dbs["funds"].tables["fund"][fund.fund_id] = fund


def _apply(
    dbs: dict[str, Database], rng: Random, household: UUID, lender: str, programme: str
) -> None:
    """An application that was taken in, and that both services know."""
    fen = Fen(rng.choice([1_000, 33_333, 100_000, 250_001]))
    loan = Loan(
        county_code=COUNTY,
        loan_id=world.new_id(),
        version=0,
        household_id=household,
        area_code=county.VILLAGE,
        lender_id=lender,
        programme=programme,
        product_id="covered",
        borrower_class="poor_household",
        state=LoanState.IN_REVIEW,
        next_step="county_recommends",
        decided=(),
        refusal_reasons=(),
        principal_fen=fen,
        term_months=1,
        purpose="beekeeping",
        used_in_area=county.VILLAGE,
        assignment_evidence="sha256:ab",
        required_covers=(),
        covers_in_force=(),
        applied_on=county.OPENED,
        sla_due_on=None,
        rate_ppm=0,
        subsidised=False,
        disbursed_on=None,
        matures_on=None,
        notice_on=None,
        outstanding_fen=Fen(0),
        interest=None,
        overdue_days=0,
        five_tier_class="normal",
        non_performing_on=None,
        subrogated_fen=Fen(0),
        compensated=False,
        covered=False,
        method="bullet",
        next_due_on=None,
        suspense_fen=Fen(0),
        postings=0,
    )
    dbs["loans"].tables["loan"][loan.loan_id] = loan
    dbs["claims"].tables["loan"][loan.loan_id] = (household, lender, "approved")
    exposures = dbs["loans"].tables["exposure"]
    exposures[household] = exposures.get(household, 0) + fen


def _grow(history: History, shape: int) -> None:
    """Applied, paid out, overdue, claimed, paid, compensated: as far as this beginning goes."""
    if shape == 0:
        return
    loans = list(rows_of(history, "loans", "loan"))
    # One of several still waits, so that something may trip while it does.
    waits = loans[-1:] if len(loans) > 1 and shape in (1, 2, 5) else []
    for act in (recommend, recommend, disburse):
        for loan in loans:
            now = history.world.dbs["loans"].tables["loan"][loan.loan_id]
            command = None if act is disburse and loan in waits else act(history, now)
            if command is not None:
                history.send(command)
        history.quiet()
    if shape in (2, 5):
        history.days_pass(31 + county.TRIGGER_DAYS + 3)
        history.quiet()
    if shape in (3, 4):
        history.days_pass(9)
        for claimed in (report, adjudicate):
            command = claimed(history)
            if command is not None:
                history.send(command)
        history.quiet()
    if shape == 4:
        for _ in range(3):
            confirm_all(history)
    if shape == 5:
        for lost in (file, decide):
            for _ in range(3):
                command = lost(history)
                if command is not None:
                    history.send(command)
            history.quiet()


def history_of(seed: int) -> History:
    """The history of a seed, not lived yet."""
    start = template(seed % TEMPLATES).like()
    world.seed_ids(seed)
    return History(seed, start)
