"""One history: what a seed makes institutions do and machines suffer, held against the books."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2, payouts_pb2
from liandong.claims.v1 import events_pb2 as claims_events
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import events_pb2 as credit
from liandong.funds.v1 import funds_pb2
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import loans_pb2

from deploy.local import audit
from services.kernel import business_day, cloudevents, ids, rpc, wire
from services.kernel.bus import Consumer
from services.kernel.errors import LiandongError
from services.kernel.rpc import Context, Guarded
from services.kernel.walls import EVERY_COUNTY
from services.loans import store as loans_store
from services.loans.rules import book, position
from tests import builders
from tests.sagas import books
from tests.sagas.books import Books
from tests.sagas.county import (
    COVERS,
    HEARS,
    INSURER,
    LENDERS,
    NOUNS,
    OPENED,
    PROGRAMMES,
    TRIGGER_DAYS,
    Room,
    a_caller,
    a_catalogue,
)
from tests.sagas.faults import AFTER_COMMIT, BEFORE_COMMIT, Died, Letter, Post, fresh, letter

STEPS = 18
SILENT_DAYS = 12
FIRST_COUNTY = 100_000
ROUNDS_MAX = 40
"""After so many rounds of nothing but deliveries a history must be quiet (L1)."""


class Found(Exception):
    """A history broke a rule: which seed, at which step, and the story up to it."""

    def __init__(self, seed: int, story: list[str], lines: list[str]) -> None:
        self.seed, self.story, self.lines = seed, story, lines
        told = "\n".join([f"seed {seed}:", *story, "broke:", *lines])
        super().__init__(told)


@dataclass(frozen=True)
class Command:
    """What somebody asks, with the id that it keeps however often it is asked."""

    noun: str
    method: str
    request: Any
    who: str
    post: int = 1

    def __str__(self) -> str:
        return f"{self.who} {self.method}"


@dataclass
class Known:
    """What the outer world knows: the commands that it was told took effect."""

    repaid: int = 0
    """By lenders' reports, less what they took back."""
    given: int = 0
    """To the fund."""
    confirmed: dict[str, int] = field(default_factory=dict)
    approved: dict[str, int] = field(default_factory=dict)
    """By claim, what it pays."""


def day(value: date) -> Date:
    """A day for the wire."""
    found = wire.date_to_proto(value)
    assert found is not None
    return found


class History:
    """A county of its own, its commands, its letters, and what must hold after each step."""

    def __init__(self, rooms: Mapping[str, Room], seed: int, place: int) -> None:
        self.rooms = rooms
        self.seed = seed
        self.county = str(FIRST_COUNTY + place)
        self.rng = Random(seed)
        self.programme = self.rng.choice(PROGRAMMES)
        self.today = OPENED
        self.story: list[str] = [f"county {self.county}, {self.programme}"]
        self.known = Known()
        self.done: dict[str, int] = {}
        self._catalogue = a_catalogue()
        self._posts = {
            noun: Post(Consumer(room.db, noun, room.handlers, batch_size_max=100))
            for noun, room in rooms.items()
        }
        self._heard = dict.fromkeys(NOUNS, 0)
        self._said: dict[str, list[Any]] = {noun: [] for noun in NOUNS}
        self._unanswered: list[Command] = []
        self._asked: list[tuple[Command, bytes]] = []
        self._now = Books({noun: {name: [] for name in books.TABLES[noun]} for noun in NOUNS})
        self._groups: dict[str, list[list[str]]] = {}
        """By payout, the loans that it goes toward, rank by rank."""
        self._households: list[str] = []
        self._loans: list[tuple[str, str, str]] = []
        """Loan, household, lender."""
        self.fund_id = ""

    # --- telling ----------------------------------------------------------------------------------

    def tell(self, line: str) -> None:
        """One line of the story."""
        self.story.append(line)

    def count(self, what: str) -> None:
        """Note that something happened, so that a test can ask whether anything ever did."""
        self.done[what] = self.done.get(what, 0) + 1

    def fail(self, lines: list[str]) -> None:
        """The end of a history that broke a rule."""
        raise Found(self.seed, self.story, lines)

    # --- asking -----------------------------------------------------------------------------------

    def command(self, noun: str, method: str, request: Any, who: str, *, post: int = 1) -> Command:
        """A command with an id of its own, kept before it is sent."""
        request.county_code = self.county
        if not request.request_id:
            request.request_id = str(ids.new_id())
        return Command(noun, method, request, who, post)

    async def send(self, command: Command) -> Any:
        """One call; it raises what the service refuses with, or Died."""
        room = self.rooms[command.noun]
        service = next(
            name for name, held in room.servicers.items() if hasattr(held, command.method)
        )
        path = f"/liandong.{command.noun}.v1.{service}/{command.method}"
        caller = a_caller(command.who, self.county, path, post=command.post)
        rpc.check(command.request)
        context = cast(Context, Guarded(cast(Context, None), caller))
        return await getattr(room.servicers[service], command.method)(command.request, context)

    async def try_(self, command: Command) -> Any:
        """A call that may be refused, and whose process may die; None when there is no answer."""
        room = self.rooms[command.noun]
        luck = self.rng.random()
        room.db.dies = BEFORE_COMMIT if luck < 0.06 else AFTER_COMMIT if luck < 0.12 else ""
        before = self._now
        try:
            answer = await self.send(command)
        except LiandongError as refusal:
            room.db.dies = ""
            self.tell(f"{command}: refused, {refusal.reason}")
            self.count(f"refused {refusal.reason}")
            await self.look()
            if self._now != before:
                self.fail([f"{command} was refused with {refusal.reason} and left something"])
            return None
        except Died as death:
            self.tell(f"{command}: {command.noun} died {death}")
            self.count(f"died {death}")
            self._unanswered.append(command)
            await self.look()
            if self.rng.random() < 0.5:
                return None
            self._unanswered.remove(command)
            return await self.try_(command)
        room.db.dies = ""
        self.tell(f"{command}: done")
        self.count(command.method)
        self._learn(command, answer)
        self._asked.append((command, answer.SerializeToString(deterministic=True)))
        await self.look()
        return answer

    async def ask_again(self) -> None:
        """The same request twice has one effect and one answer; another body is refused (F14)."""
        command, before = self.rng.choice(self._asked)
        was = self._now
        answer = await self.send(command)
        if answer.SerializeToString(deterministic=True) != before:
            self.fail([f"{command} was answered differently when asked again"])
        self.tell(f"{command}: asked again")
        self.count("asked again")
        await self.look()
        if self._now != was:
            self.fail([f"{command} took effect twice"])

    async def answer_late(self) -> None:
        """A client whose call was cut off asks again, with the same id."""
        command = self._unanswered.pop(self.rng.randrange(len(self._unanswered)))
        await self.try_(command)

    def _learn(self, command: Command, answer: Any) -> None:
        """What the outer world may rely on from now on."""
        request = command.request
        match command.method:
            case "RepayLoan":
                self.known.repaid += request.amount_fen
            case "ReverseRepayment":
                postings = self._now.by("loans", "posting", "loan_id", "number")
                self.known.repaid -= postings[request.loan_id, request.number]["amount_fen"]
            case "RecordContribution":
                self.known.given += request.amount_fen
            case "ConfirmPayment":
                self._believe(request)
            case "AnswerPayment" if request.answer == payouts_pb2.PAYMENT_ANSWER_DONE:
                self._believe(request)
            case "AdjudicateClaim":
                if request.approve:
                    self.known.approved[request.claim_id] = answer.claim.payable_fen

    def _believe(self, request: Any) -> None:
        """A payee's word was taken: it had what it was sent, or kept less as OVERPAID."""
        row = self._now.by("claims", "instruction", "instruction_id")[request.instruction_id]
        short = request.confirmed_fen < row["amount_fen"]
        overpaid = request.reason == "OVERPAID" and row["payee_kind"] == "lender"
        if request.confirmed_fen > row["amount_fen"] or (short and not overpaid):
            self.fail([f"{request.confirmed_fen} was taken for {row['amount_fen']}"])
        self.known.confirmed[request.instruction_id] = request.confirmed_fen

    # --- the beginning ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """A fund with money, policies, households with covered, insured, paid out loans."""
        for room in self.rooms.values():
            async with room.db.transaction(EVERY_COUNTY) as session:
                await business_day.open_day(session, self.county, OPENED)
        await self._begin_fund(self.rng.choice([12_000, 20_000, 90_000, 400_000]))
        for cover_id in COVERS:
            policy = claims_pb2.IssueMasterPolicyRequest(
                insurer_id=INSURER,
                programme_id=self.programme,
                cover_id=cover_id,
                from_date=day(OPENED),
                until_date=day(OPENED + timedelta(days=364)),
            )
            await self.send(self.command("claims", "IssueMasterPolicy", policy, INSURER))
        await self._lend()
        await self.look()
        await self._prelude()

    async def _prelude(self) -> None:
        """Some counties are overdue, compensated or paid already when the disorder begins."""
        shape = self.rng.random()
        if shape < 0.8:
            await self._all_heard()
        if shape < 0.45:
            # Most of what can happen to a loan happens once it is overdue.
            await self.days_pass(31 + TRIGGER_DAYS + 3)
            await self._all_heard()
        if shape < 0.25:
            await self.file()
            await self.decide()
            await self._all_heard()
        if self.rng.random() < 0.6:
            await self.claim()
            await self._all_heard()
            if self.rng.random() < 0.3:
                # Nobody answers for so long that nobody knows any more.
                await self.days_pass(SILENT_DAYS)
            for _ in range(2):
                for row in self._now.of("claims", "instruction"):
                    if row["state"] == "open":
                        await self._confirm(row)
            await self._all_heard()
            if self.rng.random() < 0.7:
                await self.take_back(surely=True)
                await self.take_back(surely=True)

    async def _all_heard(self) -> None:
        await self.settle("funds", "claims", "loans")
        await self.look()

    async def _lend(self) -> None:
        self._households = [str(ids.new_id()) for _ in range(self.rng.randint(1, 2))]
        await self._introduce()
        # Several loans of a household, of several lenders: whose is a payout then?
        wanted = [
            (household, lender)
            for household in self._households
            for lender in self.rng.sample(LENDERS, self.rng.choice([1, 2, 2, 3]))
        ]
        applying = loans_pb2.BatchApplyForLoansRequest(
            items=[
                loans_pb2.LoanApplication(
                    household_id=household,
                    lender_id=lender,
                    programme_id=self.programme,
                    product_id="covered",
                    principal_fen=self.rng.choice([1_000, 33_333, 100_000, 250_001]),
                    term_months=1,
                    purpose="beekeeping",
                    used_in_area=self._village,
                    assignment_evidence="sha256:ab",
                )
                for household, lender in wanted
            ]
        )
        applied = await self.send(self.command("loans", "BatchApplyForLoans", applying, "cfc-1"))
        loan_ids = [verdict.id for verdict in applied.verdicts]
        assert all(loan_ids), applied
        await self._decide("county_recommends", loan_ids, "cfc-1")
        await self.settle("funds", "loans")
        for lender in LENDERS:
            own = [loan for loan, (_, held) in zip(loan_ids, wanted, strict=True) if held == lender]
            if own:
                await self._decide("bank_approves", own, lender, post=2)
        await self.settle("claims", "loans")
        for loan_id, (household, lender) in zip(loan_ids, wanted, strict=True):
            asked = loans_pb2.DisburseLoanRequest(loan_id=loan_id)
            try:
                await self.send(self.command("loans", "DisburseLoan", asked, lender, post=3))
            except LiandongError as refusal:
                # The fund was too small to stand behind it.
                self.tell(f"loan of {lender} not paid out: {refusal.reason}")
                continue
            self._loans.append((loan_id, household, lender))

    @property
    def _village(self) -> str:
        return f"{self.county}001001"

    async def _introduce(self) -> None:
        letters: dict[str, list[Letter]] = {"loans": [], "claims": []}
        for household in self._households:
            here = households.HouseholdRegistered(
                household_id=household, area_code=self._village, status="registered_poor"
            )
            limit = credit.LimitGranted(
                household_id=household,
                limit_fen=100_000_000,
                grade="A",
                valid_until=day(date(2023, 12, 31)),
            )
            letters["loans"] += [self._told("households.household", household, here)]
            letters["loans"] += [self._told("credit.credit_file", household, limit)]
            account = households.PayeeAccountChanged(
                household_id=household, account_id=str(ids.new_id()), bank_id=LENDERS[0]
            )
            letters["claims"] += [self._told("households.household", household, here)]
            letters["claims"] += [self._told("households.payee_account", household, account)]
        for noun, own in letters.items():
            await self._posts[noun].deliver(own)

    def _told(self, kind: str, household: str, message: Message) -> Letter:
        noun, name = kind.split(".", maxsplit=1)[0], type(message).__name__
        words = "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
        envelope = builders.an_envelope(
            event_type=f"liandong.{noun}.v1.{words[1:]}",
            aggregate_type=kind,
            aggregate_id=household,
            sequence=1,
            county_code=self.county,
            business_date=OPENED,
        )
        return Letter("", message.SerializeToString(), cloudevents.headers(envelope, source=noun))

    async def _decide(self, step: str, loan_ids: list[str], who: str, *, post: int = 1) -> None:
        decisions = loans_pb2.BatchDecideApplicationsRequest(
            items=[
                loans_pb2.ApplicationDecision(loan_id=loan_id, step=step, approve=True)
                for loan_id in loan_ids
            ]
        )
        await self.send(self.command("loans", "BatchDecideApplications", decisions, who, post=post))

    async def contribute(self, amount_fen: int) -> None:
        """The treasury pays into the fund."""
        await self.try_(self._contribution(amount_fen))

    def _contribution(self, amount_fen: int) -> Command:
        paying = funds_pb2.RecordContributionRequest(
            fund_id=self.fund_id,
            source="county_budget",
            amount_fen=amount_fen,
            value_date=day(self.today),
        )
        return self.command("funds", "RecordContribution", paying, "fin-1")

    async def _begin_fund(self, amount_fen: int) -> None:
        opening = funds_pb2.OpenFundRequest(programme_id=self.programme, kind="county_fund")
        fund = await self.send(self.command("funds", "OpenFund", opening, "fin-1"))
        self.fund_id = fund.fund.fund_id
        paying = self._contribution(amount_fen)
        self._learn(paying, await self.send(paying))

    # --- events -----------------------------------------------------------------------------------

    async def collect(self) -> None:
        """What was said since the last look is under way to all who hear it."""
        for noun, room in self.rooms.items():
            self._heard[noun], rows = await fresh(room.schema.ask, self.county, self._heard[noun])
            self._said[noun] += rows
            for row in rows:
                if row["event_type"] == "liandong.claims.v1.payout_authorised":
                    said = claims_events.PayoutAuthorised.FromString(row["payload"])
                    self._groups[said.payout_id] = [list(group.loan_ids) for group in said.groups]
            for hearing, sources in HEARS.items():
                if noun in sources:
                    post = self._posts[hearing]
                    post.under_way += [letter(dict(row), noun) for row in rows]

    async def settle(self, *nouns: str) -> None:
        """Carry everything to some services, in order."""
        for noun in nouns:
            await self.collect()
            post = self._posts[noun]
            if post.under_way:
                await post.deliver(list(post.under_way))

    async def deliver(self) -> None:
        """Some letters reach one service: in disorder, twice, and it may die over them."""
        await self.collect()
        waiting = [noun for noun in NOUNS if self._posts[noun].under_way] or list(NOUNS)
        noun = self.rng.choice(waiting)
        post = self._posts[noun]
        chosen = post.some(self.rng)
        if not chosen:
            return
        luck = self.rng.random()
        db = self.rooms[noun].db
        db.dies = BEFORE_COMMIT if luck < 0.1 else AFTER_COMMIT if luck < 0.25 else ""
        fresh_ones = {id(each) for each in chosen} & {id(each) for each in post.under_way}
        before = self._now
        try:
            await post.deliver(chosen)
        except Died as death:
            self.tell(f"{noun} died {death} over {len(chosen)} events")
            self.count(f"died {death}")
        db.dies = ""
        names = ", ".join(each.subject.split(".")[3] for each in chosen)
        self.tell(f"{noun} heard {names}")
        self.count("delivered")
        await self.look()
        if not fresh_ones and self._now != before:
            self.fail([f"{noun} heard what it had heard before, and something changed"])

    async def quiet(self) -> None:
        """Deliver until nothing is under way, however the seed will have it."""
        for _ in range(ROUNDS_MAX):
            await self.collect()
            if not any(post.under_way for post in self._posts.values()):
                return
            for post in self._posts.values():
                if post.under_way:
                    letters = list(post.under_way)
                    self.rng.shuffle(letters)
                    await post.deliver(letters)
                    await self.look()
        left = [each.subject for post in self._posts.values() for each in post.under_way]
        self.fail([f"never quiet, still under way: {left}"])

    # --- looking ----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Read the books and hold them against every rule."""
        before, self._now = self._now, await books.read(self.rooms, self.county)
        lines = books.broken(before, self._now, self._groups)
        if not self._unanswered:
            lines += self._forgotten()
        if lines:
            self.fail(lines)

    def _forgotten(self) -> Iterator[str]:
        """What was answered is in the books, once, and nothing else is (F14, F15)."""
        posted = sum(
            row["amount_fen"] if row["reverses"] is None else -row["amount_fen"]
            for row in self._now.of("loans", "posting")
            if row["kind"] == "repayment"
        )
        if posted != self.known.repaid:
            yield f"lenders were told of {self.known.repaid}, repaid is {posted}"
        given = sum(row["amount_fen"] for row in self._now.of("funds", "contribution"))
        if given != self.known.given:
            yield f"the treasury gave {self.known.given}, the fund got {given}"
        confirmed = {
            row["instruction_id"]: row["confirmed_fen"]
            for row in self._now.of("claims", "instruction")
            if row["state"] == "confirmed"
        }
        if confirmed != self.known.confirmed:
            yield f"confirmed are {confirmed}, answered was {self.known.confirmed}"
        approved = {
            row["claim_id"]: row["payable_fen"]
            for row in self._now.of("claims", "claim")
            if row["state"] == "approved"
        }
        if approved != self.known.approved:
            yield f"approved are {approved}, answered was {self.known.approved}"

    # --- what may happen --------------------------------------------------------------------------

    def _loan(self) -> Mapping[str, Any] | None:
        held = [row for row in self._now.of("loans", "loan") if row["disbursed_on"]]
        return self.rng.choice(sorted(held, key=lambda row: row["loan_id"])) if held else None

    def _amount(self, about: int) -> int:
        """A part, all, or more than a sum."""
        part = self.rng.randint(1, max(1, about))
        return self.rng.choice([part, part, max(1, about), about + self.rng.randint(1, 50_000)])

    async def repay(self) -> None:
        """A lender posts money for one of its loans: some, all, or more than is owed."""
        if (loan := self._loan()) is None:
            return
        asked = loans_pb2.RepayLoanRequest(
            loan_id=loan["loan_id"],
            amount_fen=self._amount(loan["outstanding_fen"] + loan["interest_owed_fen"]),
            value_date=day(self._some_day()),
        )
        await self.try_(self.command("loans", "RepayLoan", asked, loan["lender_id"]))

    def _some_day(self) -> date:
        """Today, or a day before it; sometimes one on which nothing may be booked."""
        back = self.rng.choice([0, 0, 0, self.rng.randint(0, 20), -1])
        return self.today - timedelta(days=back)

    async def undo_repayment(self) -> None:
        """A lender takes a repayment back, sometimes one that it took back before."""
        made = [
            row
            for row in self._now.of("loans", "posting")
            if row["kind"] == "repayment" and row["reverses"] is None
        ]
        if not made:
            return
        row = self.rng.choice(made)
        loan = self._now.by("loans", "loan", "loan_id")[row["loan_id"]]
        asked = loans_pb2.ReverseRepaymentRequest(
            loan_id=row["loan_id"], number=row["number"], reason="entered twice"
        )
        await self.try_(self.command("loans", "ReverseRepayment", asked, loan["lender_id"]))

    async def refund(self) -> None:
        """A lender gives back what was paid too much, or asks to give back more."""
        held = [row for row in self._now.of("loans", "loan") if row["suspense_fen"]]
        if not held:
            return
        loan = self.rng.choice(held)
        asked = loans_pb2.RefundOverpaymentRequest(
            loan_id=loan["loan_id"],
            amount_fen=self._amount(loan["suspense_fen"]),
            value_date=day(self.today),
        )
        await self.try_(self.command("loans", "RefundOverpayment", asked, loan["lender_id"]))

    async def claim(self) -> None:
        """A loss is reported; the insurer decides now or later."""
        household = self.rng.choice(self._households)
        owed = sum(
            loan["outstanding_fen"] + loan["interest_owed_fen"]
            for loan in self._now.of("loans", "loan")
            if loan["household_id"] == household
        )
        asked = claims_pb2.ReportClaimRequest(
            household_id=household,
            cover_id=self.rng.choice(COVERS),
            loss_date=day(self.today),
            cause="storm",
            assessed_fen=self._amount(max(owed, 1_000)),
            documents=["sha256:cd"],
        )
        await self.try_(self.command("claims", "ReportClaim", asked, "cfc-1"))
        if self.rng.random() < 0.8:
            await self.adjudicate()

    async def adjudicate(self) -> None:
        """The insurer approves a claim, sometimes one that it has decided."""
        found = self._now.of("claims", "claim")
        waiting = [row for row in found if row["state"] == "reported"] or found
        if not waiting:
            return
        row = self.rng.choice(waiting)
        asked = claims_pb2.AdjudicateClaimRequest(
            claim_id=row["claim_id"], approve=self.rng.random() < 0.95, reason="looked at"
        )
        await self.try_(self.command("claims", "AdjudicateClaim", asked, INSURER, post=2))

    async def confirm(self) -> None:
        """Whoever was paid says so: rightly, too much, too little, or again."""
        found = self._now.of("claims", "instruction")
        waiting = [row for row in found if row["state"] != "confirmed"]
        if self.rng.random() < 0.1:
            waiting = list(found)
        if not waiting:
            return
        row = self.rng.choice(waiting)
        off_fen = self.rng.choice([0, 0, 0, 0, 0, 1, -1, -row["amount_fen"] // 3])
        reason = "OVERPAID" if off_fen < 0 and self.rng.random() < 0.7 else ""
        await self._confirm(row, off_fen=off_fen, reason=reason)

    def _payee(self, row: Mapping[str, Any]) -> str:
        return str(row["payee_id"] if row["payee_kind"] == "lender" else row["insurer_id"])

    async def _confirm(self, row: Mapping[str, Any], *, off_fen: int = 0, reason: str = "") -> None:
        asked = claims_pb2.ConfirmPaymentRequest(
            instruction_id=row["instruction_id"],
            confirmed_fen=max(0, row["amount_fen"] + off_fen),
            value_date=day(self.today),
            reason=reason,
        )
        await self.try_(self.command("claims", "ConfirmPayment", asked, self._payee(row)))

    async def answer(self) -> None:
        """The insurer asks after a silence, the payee answers, what did not come is sent again."""
        found = self._now.of("claims", "instruction")
        waiting = [row for row in found if row["state"] in ("unknown", "not_received", "held")]
        waiting = waiting or [row for row in found if row["state"] == "open"]
        if waiting:
            await self._answer(self.rng.choice(waiting), self.rng.choice(["ask", "", "", ""]))

    async def _answer(self, row: Mapping[str, Any], what: str = "") -> None:
        instruction_id = row["instruction_id"]
        if what == "ask":
            asking = payouts_pb2.AskPaymentRequest(instruction_id=instruction_id)
            await self.try_(self.command("claims", "AskPayment", asking, INSURER))
        elif row["state"] in ("not_received", "held"):
            again = payouts_pb2.ResendPaymentRequest(instruction_id=instruction_id)
            await self.try_(self.command("claims", "ResendPayment", again, INSURER))
        else:
            answer = what or self.rng.choice(["DONE", "NOT_RECEIVED", "REFUSED"])
            done = answer == "DONE"
            word = payouts_pb2.AnswerPaymentRequest(
                instruction_id=instruction_id,
                answer=payouts_pb2.PaymentAnswer.Value(f"PAYMENT_ANSWER_{answer}"),
                confirmed_fen=row["amount_fen"] if done else 0,
                value_date=day(self.today) if done else None,
                reason="" if done else "ACCOUNT_CLOSED",
            )
            await self.try_(self.command("claims", "AnswerPayment", word, self._payee(row)))

    async def take_back(self, *, surely: bool = False) -> None:
        """The insurer asks for a payout back, or another person of it decides."""
        asked = [
            row for row in self._now.of("claims", "payout_reversal") if row["state"] == "asked"
        ]
        if asked and (surely or self.rng.random() < 0.7):
            deciding = payouts_pb2.DecideReversalRequest(
                reversal_id=self.rng.choice(asked)["reversal_id"],
                approve=surely or self.rng.random() < 0.9,
            )
            post = 2 if surely else self.rng.choice([1, 2, 2, 2])
            command = self.command("claims", "DecideReversal", deciding, INSURER, post=post)
            await self.try_(command)
            return
        found = self._now.of("claims", "payout")
        settled = [row for row in found if row["state"] == "settled"] or list(found)
        if settled:
            request = payouts_pb2.ReversePayoutRequest(
                payout_id=self.rng.choice(settled)["payout_id"],
                reason="FRAUD",
                evidence="sha256:aa",
            )
            await self.try_(self.command("claims", "ReversePayout", request, INSURER))

    async def pay_back(self) -> None:
        """Somebody gives back of a payout that was taken back: some, all, or too much."""
        owed = [
            row
            for row in self._now.of("claims", "receivable")
            if row["paid_fen"] < row["amount_fen"]
        ]
        if owed:
            row = self.rng.choice(owed)
            request = payouts_pb2.RecordReceivablePaymentRequest(
                receivable_id=row["receivable_id"],
                amount_fen=self._amount(row["amount_fen"] - row["paid_fen"]),
                value_date=day(self.today),
            )
            await self.try_(self.command("claims", "RecordReceivablePayment", request, INSURER))

    async def file(self) -> None:
        """A lender files a loss: of a loan that is overdue long enough, or that is not."""
        stated = self._now.by("funds", "loan_statement", "loan_id")
        loans = [row for row in self._now.of("loans", "loan") if row["loan_id"] in stated]
        if not loans:
            return
        loan = self.rng.choice(loans)
        asked = funds_pb2.FileCompensationCaseRequest(
            loan_id=loan["loan_id"], cause="default", evidence=["sha256:ef"]
        )
        await self.try_(self.command("funds", "FileCompensationCase", asked, loan["lender_id"]))

    async def decide(self) -> None:
        """The centre approves a case, sometimes one that it has decided."""
        found = self._now.of("funds", "compensation_case")
        waiting = [row for row in found if row["state"] == "filed"] or found
        if not waiting:
            return
        asked = funds_pb2.DecideCompensationCaseRequest(
            case_id=self.rng.choice(waiting)["case_id"],
            approve=self.rng.random() < 0.9,
            reason="looked at",
        )
        await self.try_(self.command("funds", "DecideCompensationCase", asked, "cfc-1", post=2))

    async def give(self) -> None:
        """The treasury tops the fund up."""
        await self.contribute(self.rng.randint(1, 60_000))

    async def days_pass(self, days: int = 0) -> None:
        """Days pass; the last of them is closed, and what is overdue then is said."""
        days = days or self.rng.choice([1, 3, 31 + TRIGGER_DAYS + 3])
        self.today += timedelta(days=days)
        for noun in NOUNS:
            room = self.rooms[noun]
            async with room.db.transaction(EVERY_COUNTY) as session:
                await business_day.open_day(session, self.county, self.today - timedelta(days=1))
            asked = operator_pb2.AdvanceDayRequest(business_date=day(self.today))
            command = self.command(noun, "AdvanceDay", asked, "ops-1")
            path = "/liandong.common.v1.OperatorService/AdvanceDay"
            caller = a_caller("ops-1", self.county, path)
            context = cast(Context, Guarded(cast(Context, None), caller))
            await room.operator.AdvanceDay(command.request, context)
        self.tell(f"{days} days passed, it is {self.today}")
        self.count("days passed")
        await self.look()

    # --- living -----------------------------------------------------------------------------------

    async def live(self) -> None:
        """A beginning, some steps, and then rest; whatever else goes wrong is found too."""
        try:
            await self._live()
        except (Found, Died):
            raise
        except Exception as error:
            raise Found(self.seed, self.story, [f"{type(error).__name__}: {error}"]) from error

    async def _live(self) -> None:
        await self.begin()
        for _ in range(STEPS):
            await self._step()
        await self._rest()

    async def _step(self) -> None:
        acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self.deliver),
            (10, self.repay),
            (8, self.claim),
            (3, self.give),
            (4, self.days_pass),
            (self._weight(3, "claims", "claim"), self.adjudicate),
            (self._weight(12, "claims", "instruction", "open"), self.confirm),
            (self._weight(14, "claims", "instruction", "unknown", "held"), self.answer),
            (self._weight(20, "claims", "payout", "settled"), self.take_back),
            (self._weight(60, "claims", "payout_reversal", "asked"), self.take_back),
            (self._weight(5, "claims", "receivable"), self.pay_back),
            (self._weight(4, "loans", "posting"), self.undo_repayment),
            (3, self.refund),
            (self._weight(7, "funds", "loan_statement"), self.file),
            (self._weight(14, "funds", "compensation_case", "filed"), self.decide),
            (4 if self._asked else 0, self.ask_again),
            (12 if self._unanswered else 0, self.answer_late),
        ]
        (act,) = self.rng.choices([act for _, act in acts], [weight for weight, _ in acts])
        await act()

    def _weight(self, weight: int, noun: str, table: str, *states: str) -> int:
        """A full weight when there is something to act on, a little when that is refused."""
        found = self._now.of(noun, table)
        if not found:
            return 0
        return weight if not states or any(row["state"] in states for row in found) else 1

    async def _rest(self) -> None:
        """Everybody hears all, confirms all, and the books of the services agree."""
        while self._unanswered:
            await self.answer_late()
        for _ in range(ROUNDS_MAX):
            await self.quiet()
            found = self._now.of("claims", "instruction")
            waiting = [row for row in found if row["state"] != "confirmed"]
            if not waiting:
                break
            for row in waiting:
                if row["state"] == "open":
                    await self._confirm(row)
                else:
                    await self._answer(row, "DONE" if row["state"] == "unknown" else "")
        while self._unanswered:
            await self.answer_late()
        await self.quiet()
        lines = books.unequal(self._now) + self._gaps() + await self._audit()
        lines += await self._replayed()
        lines += [
            f"payout {row['payout_id']} is {row['state']} at rest"
            for row in self._now.of("claims", "payout")
            if row["state"] not in ("settled", "reversed")
        ]
        if lines:
            self.fail(lines)
        await self._hear_all_again()

    def ending(self) -> list[Any]:
        """What the books came to, without ids: the same whenever the seed is lived."""
        return sorted(
            (noun, row["kind"], row["debit_account"], row["credit_account"], row["amount_fen"])
            for noun in NOUNS
            for row in self._now.of(noun, "journal")
        )

    async def _hear_all_again(self) -> None:
        """The stream was lost and published again: nothing comes of it (F6, F19)."""
        for post in self._posts.values():
            await post.deliver(self.rng.sample(post.had, len(post.had)))
        before = self._now
        await self.look()
        await self.collect()
        said_more = [each for post in self._posts.values() for each in post.under_way]
        if self._now != before or said_more:
            self.fail(["all events were heard again, and something changed"])

    def _gaps(self) -> list[str]:
        """Each aggregate's history is whole (G9)."""
        found: dict[tuple[str, str], list[int]] = {}
        for rows in self._said.values():
            for row in rows:
                key = (row["aggregate_type"], row["aggregate_id"])
                found.setdefault(key, []).append(row["sequence"])
        return [
            f"{kind} {name} was said in {numbers}"
            for (kind, name), numbers in found.items()
            if numbers != list(range(1, len(numbers) + 1))
        ]

    async def _audit(self) -> list[str]:
        """The platform's own audit, as far as these three services are its subject."""

        async def totals(noun: str, positions_only: bool) -> operator_pb2.GetTotalsResponse:
            if noun not in self.rooms:
                return operator_pb2.GetTotalsResponse()
            request = operator_pb2.GetTotalsRequest(county_code=self.county)
            caller = a_caller("ops-1", self.county, "/GetTotals")
            context = cast(Context, Guarded(cast(Context, None), caller))
            return await self.rooms[noun].operator.GetTotals(request, context)

        found = await audit.audit(totals)
        return [
            f"audit: {line.check} differ by {line.difference}"
            for line in found.lines
            if line.difference and not line.check.startswith(("households.", "credit."))
        ]

    async def _replayed(self) -> list[str]:
        """Every loan is its book worked again from the first day."""
        wrong = []
        loan_ids = [UUID(loan_id) for loan_id, _, _ in self._loans]
        async with self.rooms["loans"].db.transaction(EVERY_COUNTY) as session:
            loans = await loans_store.lock_loans(session, self.county, loan_ids)
            postings = await loans_store.postings_of(session, self.county, loan_ids)
        for loan_id, loan in loans.items():
            terms = position.book_terms(loan, self._catalogue.terms(self.county, loan.programme))
            held = position.position_of(loan)
            again = book.replay(terms, postings[loan_id], held.accrued_through).position
            if again != held:
                wrong.append(f"loan {loan_id} is {held}, its book comes to {again}")
        return wrong
