"""One history: what a seed makes institutions do and machines suffer, held against the books."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache, partial
from random import Random
from typing import Any
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
from services.funds.model import CaseState, Collected, Decision, Filing, Fund, FundState
from services.funds.operations import cases, funds, recoveries
from services.funds.operations.funds import Arrived
from services.kernel.errors import Conflict, LiandongError
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Decision as Step
from services.loans.model import Loan, LoanState, Repayment, Undoing
from services.loans.operations import day as day_close
from services.loans.operations import drawing, lending, money
from services.loans.rules.book import PostingKind
from tests.sim import county, invariants, world
from tests.sim.county import COUNTY, INSURER, LENDERS, actor, caller
from tests.sim.memory import BrokenRule, Database, Row, Session
from tests.sim.world import AFTER, BEFORE, NOUNS, Command, Died, World

TEMPLATES = 48
"""So many beginnings there are; a seed begins at one and goes on its own way."""
CLAIMS_MAX = 3
ROUNDS_MAX = 30
"""After so many rounds of nothing but deliveries a history must be quiet (L1)."""
ANYWHERE = lambda _: None  # noqa: E731 - every area is the actor's


class Found(Exception):
    """A history broke a rule: which seed, and the story up to it."""

    def __init__(self, seed: int, story: Sequence[str], lines: Sequence[str]) -> None:
        self.seed, self.story, self.lines = seed, tuple(story), tuple(lines)
        super().__init__(seed, tuple(story), tuple(lines))

    def __str__(self) -> str:
        again = f"replay it: python -m tests.sim --replay {self.seed}"
        return "\n".join([f"seed {self.seed}", *self.story, "broke:", *self.lines, again])


Act = Callable[..., Command | None]


class _Names:
    """Events, to be named when somebody reads the story."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __str__(self) -> str:
        return ", ".join(row.envelope.event_type.rsplit(".", 1)[1] for row in self._rows)


class History:
    """A county of its own, its commands, its events, and what must hold after each step."""

    def __init__(self, seed: int, start: World, *, calm: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.world = start
        self.today: date = start.dbs["loans"].day
        self.calm = calm
        """No faults: a beginning is lived so."""
        self._told: list[tuple[str, tuple[object, ...]]] = []
        self.counts: Counter[str] = Counter()
        self.steps = 0
        self._unanswered: list[Command] = []
        self._answered: list[tuple[Command, Any]] = []

    # --- telling ----------------------------------------------------------------------------------

    def tell(self, line: str, *args: object) -> None:
        """One line of the story; it is put together only when somebody reads it."""
        self._told.append((line, args))

    @property
    def story(self) -> list[str]:
        """What happened, line by line."""
        return [line.format(*args) for line, args in self._told]

    def check(self) -> None:
        """The end of a history that broke a rule."""
        if self.world.broken:
            raise Found(self.seed, self.story, self.world.broken)

    # --- asking -----------------------------------------------------------------------------------

    def command(
        self, noun: str, name: str, who: str, request: tuple[Any, ...], work: world.Work
    ) -> Command:
        """A command with an id of its own, kept before it is sent."""
        return Command(noun, name, who, request, world.new_id(), work)

    def send(self, command: Command) -> Any:
        """A call that may be refused, and whose process may die; None when there is no answer."""
        db = self.world.dbs[command.noun]
        luck = 1.0 if self.calm else self.rng.random()
        fate = BEFORE if luck < 0.06 else AFTER if luck < 0.12 else ""
        try:
            answer, broken = world.alone(db, self.world.ask(command), fate)
        except LiandongError as refusal:
            self.counts["refused"] += 1
            self.tell("{}: refused, {}", command, refusal.reason)
            return None
        except Died as death:
            self.counts["died"] += 1
            self.world.broken += death.args[1] if len(death.args) > 1 else []
            self.tell("{}: {} died {}", command, command.noun, death.args[0])
            self._unanswered.append(command)
            return None
        self._done(command, answer, broken)
        if luck > 0.98 and not self.calm:
            self._ask_again(command, answer)
        return answer

    def _done(self, command: Command, answer: Any, broken: list[str]) -> None:
        self.counts[command.name] += 1
        self.tell("{}: done", command)
        self.world.broken += broken
        self._answered.append((command, answer))

    def _ask_again(self, command: Command, before: Any) -> None:
        """The same request twice has one effect and one answer; another body is refused (F14)."""
        db = self.world.dbs[command.noun]
        entries, rows = len(db.journal), len(db.outbox)
        self.counts["asked again"] += 1
        self.tell("{}: asked again", command)
        if self.rng.random() < 0.3:
            other = replace(command, request=(*command.request, "another"))
            try:
                world.alone(db, self.world.ask(other))
                self.world.broken.append(f"F14 {command} was taken with another body")
            except Conflict:
                return
            except LiandongError as refusal:
                self.world.broken.append(f"F14 {command} with another body: {refusal.reason}")
            return
        try:
            answer, broken = world.alone(db, self.world.ask(command))
        except LiandongError as refusal:
            self.world.broken.append(f"F14 {command} is refused now: {refusal.reason}")
            return
        self.world.broken += broken
        if answer is not before or (entries, rows) != (len(db.journal), len(db.outbox)):
            self.world.broken.append(f"F14 {command} took effect twice")

    def answer_late(self) -> None:
        """A client whose call was cut off asks again, with the same id."""
        command = self._unanswered.pop(self.rng.randrange(len(self._unanswered)))
        self.send(command)

    # --- two at once ------------------------------------------------------------------------------

    def race(self, first: Command, second: Command | None) -> None:
        """Two transactions of one service at the same moment: commands, or one and a delivery."""
        noun = first.noun
        db, rows = self.world.dbs[noun], []
        works = [self.world.ask(first)]
        if second is None:
            self._publish(noun)
            rows = self._some(noun)
            if not rows:
                self.send(first)
                return
            works.append(self.world.take(noun, rows))
        else:
            works.append(self.world.ask(second))
        self.counts["races"] += 1
        self.tell("at once: {} and {}", first, second or f"{len(rows)} events")
        outcomes = world.together(db, works, self.rng)
        for command, outcome in zip((first, second), outcomes, strict=True):
            self._raced(noun, command, outcome)

    def _raced(self, noun: str, command: Command | None, outcome: world.Outcome) -> None:
        if isinstance(outcome, LiandongError):
            self.tell("  {}: refused, {}", command or "events", outcome.reason)
        elif isinstance(outcome, BrokenRule | AssertionError):
            # Its client gets an error, and the events come again: it must hold at the next try.
            self.tell("  {}: undone, {}", command or "events", outcome)
            if command is not None:
                self._unanswered.append(command)
        elif isinstance(outcome, Exception):
            raise outcome
        elif command is None:
            self.world.broken += outcome[1]
            self.world.acknowledge(noun, outcome[0])
        else:
            self._done(command, *outcome)

    # --- events -----------------------------------------------------------------------------------

    def _publish(self, listener: str) -> None:
        for source in world.hears()[listener]:
            self.world.publish(source, twice=not self.calm and self.rng.random() < 0.03)

    def _some(self, noun: str) -> list[Row]:
        """Some of what is under way, a few shuffled and a few twice, with an old one among them."""
        rng, held = self.rng, self.world.under_way[noun]
        had = self.world.had[noun]
        if not held:
            return rng.sample(had, min(len(had), 2)) if rng.random() < 0.3 else []
        count = len(held) if rng.random() < 0.6 else rng.randint(1, len(held))
        chosen = rng.sample(held, count) if rng.random() < 0.3 else held[:count]
        if rng.random() < 0.3:
            chosen = [*chosen, rng.choice(chosen)]
        if had and rng.random() < 0.15:
            chosen = [rng.choice(had), *chosen]
        return chosen

    def deliver(self, noun: str = "") -> None:
        """Events arrive: late, in another order, twice; a process dies over them."""
        rng = self.rng
        noun = noun or rng.choice(NOUNS)
        self._publish(noun)
        rows = self._some(noun)
        if not rows:
            return
        luck = rng.random()
        fate = BEFORE if luck < 0.07 else AFTER if luck < 0.16 else ""
        self.tell("{} gets {}{}", noun, _Names(rows), f", dies {fate}" if fate else "")
        self.counts["delivered"] += len(rows)
        self.world.deliver(noun, rows, fate)

    def lose_stream(self) -> None:
        """The stream is wiped, and filled again from the outbox (F6)."""
        noun = self.rng.choice(NOUNS)
        self.tell("the stream lost what {} had said", noun)
        self.counts["streams lost"] += 1
        self.world.lose_stream(noun)

    def quiet(self) -> None:
        """Nothing but deliveries until nobody has anything to say."""
        for _ in range(ROUNDS_MAX):
            said = sum(self.world.publish(noun) for noun in NOUNS)
            if not said and not any(self.world.under_way.values()):
                return
            for noun in NOUNS:
                if self.world.under_way[noun]:
                    self.world.deliver(noun, list(self.world.under_way[noun]))
            self.check()
        left = {noun: len(rows) for noun, rows in self.world.under_way.items()}
        self.world.broken.append(f"L1 events are under way for ever: {left}")
        self.check()

    # --- days -------------------------------------------------------------------------------------

    def days_pass(self, days: int) -> None:
        """A clock jumps: days pass in each service on its own, and what is due is done."""
        self.today += timedelta(days=days)
        self.tell("{} days pass, it is {}", days, self.today)
        for noun in NOUNS:
            if not self.calm and self.rng.random() < 0.15:
                # This one hears of the day later; no decision depends on two clocks.
                continue
            self.close_day(noun)

    def close_day(self, noun: str) -> None:
        """One service closes its days up to the county's."""
        db = self.world.dbs[noun]
        if db.day >= self.today:
            return
        db.day = self.today
        last = self.today - timedelta(days=1)
        catalogue = county.catalogue()
        works: list[world.Work] = []
        if noun == "loans":
            works.append(lambda s: day_close.age_loans(s, COUNTY, last, catalogue))
            works.append(lambda s: day_close.trip_breakers(s, COUNTY, last, catalogue))
        if noun == "claims":
            works.append(lambda s: payouts.close_day(s, catalogue, COUNTY, last))
        for work in works:
            self.world.broken += world.alone(db, work)[1]

    # --- living -----------------------------------------------------------------------------------

    def live(self) -> None:
        """Some steps, and then rest; whatever else goes wrong is found too."""
        try:
            for _ in range(self.rng.randint(6, 16)):
                self.step()
                self.check()
            self.rest()
        except Found:
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            raise Found(self.seed, self.story, [*self.world.broken, line]) from error

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        rng = self.rng
        luck = rng.random()
        if luck < 0.40:
            self.deliver()
            return
        if luck < 0.45:
            self.days_pass(rng.choice((1, 3, 12, 40)))
            return
        if luck < 0.46:
            self.lose_stream()
            return
        if self._unanswered and luck < 0.55:
            self.answer_late()
            return
        if self._answered and luck < 0.57:
            self._ask_again(*rng.choice(self._answered))
            return
        command = self._some_command()
        if command is None:
            self.deliver()
        elif rng.random() < 0.2:
            self._race_with(command)
        else:
            self.send(command)

    def _race_with(self, first: Command) -> None:
        for _ in range(4):
            second = self._some_command()
            if second is not None and second.noun == first.noun:
                self.race(first, second if self.rng.random() < 0.5 else None)
                return
        self.race(first, None)

    def _some_command(self) -> Command | None:
        """Mostly something that is waited for, else whatever anybody may try."""
        rng = self.rng
        if rng.random() < 0.75:
            useful = _useful(self)
            if useful:
                return rng.choice(useful)(self)
        return rng.choice(_ANY)(self)

    def rest(self) -> None:
        """Everybody hears all, confirms all, and the books of the services agree."""
        self.calm = True
        self.tell("rest")
        self._late()
        for noun in NOUNS:
            self.close_day(noun)
        for _ in range(ROUNDS_MAX):
            self.quiet()
            if not _give_account(self) and not _confirm_all(self):
                break
        self.world.broken += invariants.at_rest(self.world.dbs, world.hears())
        self._answers_kept()
        self.check()
        if self.seed % 3 == 0:
            self._hear_all_again()

    def _late(self) -> None:
        while self._unanswered:
            self.answer_late()
            self.check()

    def _answers_kept(self) -> None:
        """What somebody was told is done is done."""
        for command, answer in self._answered:
            kept = self.world.dbs[command.noun].answers.get(command.request_id)
            if kept is None or kept[1] is not answer:
                self.world.broken.append(f"F7 {command} was answered, and is not kept")

    def _hear_all_again(self) -> None:
        """The stream was lost and published again: nothing comes of it (F6, F19)."""
        for noun in NOUNS:
            db = self.world.dbs[noun]
            before = (len(db.journal), len(db.outbox))
            had = self.world.had[noun]
            self.world.deliver(noun, self.rng.sample(had, min(len(had), 6)))
            if before != (len(db.journal), len(db.outbox)):
                self.world.broken.append(f"G8 {noun} heard events again, and something changed")
        self.check()


# --- what institutions do -------------------------------------------------------------------------


def _choose(history: History, rows: Sequence[Any]) -> Any:
    return rows[history.rng.randrange(len(rows))]


def _rows(history: History, noun: str, table: str) -> list[Any]:
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
    found = [each for each in _rows(history, "loans", "loan") if each.disbursed_on is None]
    if not found:
        return None
    loan = loan or _choose(history, found)
    step = loan.next_step or "bank_approves"
    by_county = step == "county_recommends"
    who = actor("cfc-1") if by_county else actor(loan.lender_id, 2)
    decision = Step(loan.loan_id, step, history.calm or history.rng.random() < 0.96, "looked at", who.person_id)

    def work(session: Session) -> Any:
        return _one(
            lending.decide_applications(
                session,  # type: ignore[arg-type]
                COUNTY,
                [decision],
                who,
                catalogue=county.catalogue(),
                may_act_in=ANYWHERE,
            )
        )

    return history.command("loans", "decide", who.institution_id, (step, loan.loan_id), work)


def disburse(history: History, loan: Loan | None = None) -> Command | None:
    """A lender pays out what was approved, by a third person."""
    found = [each for each in _rows(history, "loans", "loan") if each.disbursed_on is None]
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
    found = [each for each in _rows(history, "loans", "loan") if each.disbursed_on is None]
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
            may_act_in=ANYWHERE,
        )
        return history.command("loans", "cancel", loan.lender_id, (loan.loan_id,), cancel)  # type: ignore[arg-type]
    ask = partial(
        drawing.ask_cover_again,
        county_code=COUNTY,
        loan_id=loan.loan_id,
        actor=who,
        catalogue=county.catalogue(),
    )
    return history.command("loans", "ask_cover", loan.lender_id, (loan.loan_id,), ask)  # type: ignore[arg-type]


def repay(history: History) -> Command | None:
    """A lender reports money, of today or of a day before."""
    found = [each for each in _rows(history, "loans", "loan") if each.disbursed_on]
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
    """A repayment was a mistake, or was meant for another loan."""
    books = history.world.dbs["loans"].tables["posting"]
    found = [
        (loan_id, each)
        for loan_id, postings in books.items()
        for each in postings
        if each.kind is PostingKind.REPAYMENT
    ]
    if not found:
        return None
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
    return history.command("loans", "undo", loan.lender_id, (loan_id, posting.number), work)  # type: ignore[arg-type]


def refund(history: History) -> Command | None:
    """What was paid too much is given back, or a fen more than that."""
    found = [each for each in _rows(history, "loans", "loan") if each.suspense_fen]
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
    return history.command("loans", "refund", loan.lender_id, (loan.loan_id, fen), work)  # type: ignore[arg-type]


def report(history: History) -> Command | None:
    """A loss is reported; a day's loss of a household once a cover."""
    household, insured = _choose(history, _rows(history, "claims", "sum_insured_of"))
    owed = sum(
        each.owed_fen
        for each in _rows(history, "loans", "loan")
        if each.household_id == household
    )
    fen = _amount(history, max(owed, 1_000))
    cover = history.rng.choice(county.COVERS)
    on = history.world.dbs["claims"].day
    claim_id = world.new_id()

    async def work(session: Session) -> Any:
        for held in session.rows("claim"):
            if (held.household_id, held.cover_id, held.loss_date) == (household, cover, on):
                raise Conflict("CLAIM_EXISTS", "this loss is reported")
        claim = _claim(history, claim_id, household, insured, cover, fen, on)
        session.add("claim", claim_id, claim)
        return claim

    return history.command("claims", "report", "cfc-1", (household, cover, fen, on), work)


def _claim(
    history: History,
    claim_id: UUID,
    household: UUID,
    insured: UUID,
    cover: str,
    fen: Fen,
    on: date,
) -> Claim:
    loan = _rows(history, "loans", "loan")[0]
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
    found = _rows(history, "claims", "claim")
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
    found = _rows(history, "claims", "instruction")
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
    asked = [e for e in _rows(history, "claims", "reversal") if e.state is ReversalState.ASKED]
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
        return history.command("claims", "decide_reversal", INSURER, request, decide)  # type: ignore[arg-type]
    found = _rows(history, "claims", "payout")
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
    return history.command("claims", "ask_reversal", INSURER, (payout.payout_id,), ask)  # type: ignore[arg-type]


def pay_back(history: History) -> Command | None:
    """Somebody gives back of a payout that was taken back: some, all, or too much."""
    owed = [
        each
        for each, _ in _rows(history, "claims", "receivable")
        if each.paid_fen < each.amount_fen
    ]
    if not owed:
        return None
    each = _choose(history, owed)
    fen = _amount(history, each.amount_fen - each.paid_fen)
    paid = ReceivablePayment(each.receivable_id, fen, history.world.dbs["claims"].day, "ref")
    work = partial(
        reversals.take_payment, caller=caller(INSURER), county_code=COUNTY, payment=paid
    )
    return history.command("claims", "pay_back", INSURER, (each.receivable_id, fen), work)  # type: ignore[arg-type]


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
    found = _rows(history, "funds", "case")
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
    found = [e for e in _rows(history, "funds", "case") if e.state is CaseState.PAID]
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
    return history.command("funds", "collect", "cfc-1", (case.case_id, fen, name), work)  # type: ignore[arg-type]


def give(history: History) -> Command | None:
    """The treasury tops the fund up."""
    return _give(history, history.rng.randint(1, 60_000))


def _give(history: History, fen: int) -> Command:
    fund = _rows(history, "funds", "fund")[0]
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
    owed = [each for each in _rows(history, "funds", "part") if each.owed_fen and not each.fund_id]
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
    return history.command("funds", "confirm_share", case.lender_id, request, work)  # type: ignore[arg-type]


def _give_account(history: History) -> bool:
    """Households without an account get one: what is held for them is sent."""
    db = history.world.dbs["claims"]
    waiting = [
        household
        for household, _ in _rows(history, "claims", "sum_insured_of")
        if household not in db.tables["account"]
    ]
    for household in waiting:
        rows = [(COUNTY, household, world.new_id(), LENDERS[0], db.day)]

        def work(session: Session, rows: Any = rows) -> Any:
            return payments.keep_accounts(session, county.catalogue(), rows)  # type: ignore[arg-type]

        history.world.broken += world.alone(db, work)[1]
    return bool(waiting)


def _confirm_all(history: History) -> bool:
    """Whoever has not said so yet has its money; whether anybody had to."""
    found = [
        each
        for each in _rows(history, "claims", "instruction")
        if each.state is not InstructionState.CONFIRMED
    ]
    db = history.world.dbs["claims"]
    for each in found:
        each = db.tables["instruction"][each.instruction_id]
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


_ANY: Sequence[Act] = (
    *(repay, repay, undo_repayment, refund, recommend, disburse, ask_cover_again),
    *(say, report, adjudicate, take_back, pay_back, file, decide, give, collect, confirm_share),
)


def _useful(history: History) -> list[Act]:
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
            found += (collect, confirm_share, give)
    return found


# --- beginnings -----------------------------------------------------------------------------------


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
    history.send(_give(history, rng.choice([12_000, 20_000, 90_000, 400_000])))
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
        programme_id=programme.split("@")[0],
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
    loans = list(_rows(history, "loans", "loan"))
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
        for act in (report, adjudicate):
            command = act(history)
            if command is not None:
                history.send(command)
        history.quiet()
    if shape == 4:
        for _ in range(3):
            _confirm_all(history)
    if shape == 5:
        for act in (file, decide):
            for _ in range(3):
                command = act(history)
                if command is not None:
                    history.send(command)
            history.quiet()


def history_of(seed: int) -> History:
    """The history of a seed, not lived yet."""
    start = template(seed % TEMPLATES).like()
    world.seed_ids(seed)
    return History(seed, start)
