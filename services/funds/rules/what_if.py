"""Funds: a county's history replayed under another pack: who would have paid what. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from services.funds.model import (
    Amounts,
    Arrears,
    Case,
    CaseFile,
    CaseState,
    Cover,
    CoverState,
    Fund,
    FundState,
    Insured,
    Part,
)
from services.funds.rules import accounts, cases, cover, money, recoveries
from services.kernel.errors import LiandongError, Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.values import known
from services.programmes.terms import Terms

ENDOGENOUS = frozenset({"compensation", "debt_payment", "recovery", "recovery_reversed"})
"""Journal entries that the replay works out itself; all other money came from outside."""
FREES_DEBTS = frozenset({"contribution", "transfer", "division"})
NOT_ACCEPTED = "not_accepted"
"""Layer of a loss that the programme would have left with the lender."""
ALIVE = (CaseState.PAID, CaseState.CLOSED)
_NOTHING = Fen(0)


@dataclass(frozen=True, slots=True)
class Money:
    """Money that moved in a fund; by place (custodian or none), below zero when it left."""

    on: date
    kind: str
    fund_id: UUID
    changes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A loan asked for cover; what the books answered."""

    on: date
    loan_id: UUID
    principal_fen: Fen
    fund_id: UUID | None
    """The fund that stood behind it; none when it was refused."""
    moment: int
    """Milliseconds of the answer: a fund that was opened later could not give it."""


@dataclass(frozen=True, slots=True)
class Released:
    """Cover went back."""

    on: date
    loan_id: UUID
    why: str


@dataclass(frozen=True, slots=True)
class Paid:
    """A case was paid."""

    on: date
    case_id: UUID


@dataclass(frozen=True, slots=True)
class Back:
    """Money came back on a case."""

    on: date
    case_id: UUID
    recovery_id: UUID
    amount_fen: Fen
    costs_fen: Fen
    shares: tuple[tuple[int, Fen], ...]
    """Position and amount, as the books shared it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A recovery was undone."""

    on: date
    case_id: UUID
    recovery_id: UUID


Item = Money | Asked | Released | Paid | Back | Gone


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a loan beside its case."""

    stated_on: date
    principal_fen: Fen
    interest_fen: Fen
    non_performing: bool
    five_tier_class: str
    payments: tuple[tuple[date, Fen, Fen], ...]
    """Day, principal, interest."""


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to the funds, covers and cases of one programme in a county."""

    funds: tuple[Fund, ...]
    covers: Mapping[UUID, Cover]
    cases: Mapping[UUID, Case]
    parts: Mapping[UUID, tuple[Part, ...]]
    """By case, as the books have them now."""
    earlier: Mapping[UUID, tuple[Part, ...]]
    """By case that was paid before the replay begins: as its parts stood then."""
    loans: Mapping[UUID, Known]
    insured: Mapping[UUID, tuple[Insured, ...]]
    owners: Mapping[UUID, str]
    triggers: Mapping[UUID, SharingModel]
    """By case: the model of the books, whose trigger it passed."""
    log: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The pack that is tried."""

    terms: Terms
    parties: Mapping[str, tuple[str, ...]]
    choices: Mapping[str, str]
    """By product, the sharing model that the county chose."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What would have become of one case."""

    case: Case
    on: date
    parts: tuple[Part, ...]
    reason: str
    """Why it would not have been accepted; empty when it would."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one institution bears of the cases that were paid in one year."""

    year: int
    institution_id: str
    borne_fen: Fen = _NOTHING
    paid_fen: Fen = _NOTHING
    owed_fen: Fen = _NOTHING
    recovered_fen: Fen = _NOTHING


@dataclass(frozen=True, slots=True)
class Outcome:
    """A replay beside the books."""

    cases: tuple[Tried, ...]
    covers: Mapping[UUID, bool]
    """By loan that asked: whether it would have had cover."""
    not_accepted: Mapping[str, int]
    covers_refused: Mapping[str, int]
    """By reason: covers that the books gave and that would have been refused."""
    covers_granted: int
    """Covers that the books refused and that would have been given."""
    loss_assumed: int
    """Cases of which the other base is not known: their loss is taken as it stands."""
    withheld_fen: Fen
    """Money that left a fund in the books and that it would not have had."""


@dataclass(slots=True)
class _Replay:
    history: History
    rules: Rules
    since: date
    funds: dict[UUID, Fund] = field(default_factory=dict)
    covers: dict[UUID, Cover] = field(default_factory=dict)
    tried: dict[UUID, Tried] = field(default_factory=dict)
    parts: dict[UUID, tuple[Part, ...]] = field(default_factory=dict)
    refused: dict[UUID, str] = field(default_factory=dict)
    booked: dict[UUID, bool] = field(default_factory=dict)
    shared: dict[UUID, tuple[tuple[int, Fen], ...]] = field(default_factory=dict)
    begun: bool = False
    assumed: int = 0
    withheld: int = 0

    # --- the books before the pack is tried -----------------------------------------------------

    def begin(self) -> None:
        """What funds owed when the replay begins."""
        self.begun = True
        self.parts.update(self.history.earlier)
        for part in (part for each in self.parts.values() for part in each):
            if part.fund_id is not None and part.owed_fen:
                fund = self.funds[part.fund_id]
                owed = Fen(fund.owed_fen + part.owed_fen)
                self.funds[part.fund_id] = replace(fund, owed_fen=owed, state=FundState.SUSPENDED)

    def book(self, item: Item) -> None:
        """Take an item over as it was."""
        if isinstance(item, Money):
            self.money(item)
        elif isinstance(item, Asked) and item.fund_id is not None:
            held = self.covers[item.loan_id]
            if held.state is CoverState.RESERVED:
                return
            self.covers[item.loan_id] = replace(
                held,
                state=CoverState.RESERVED,
                fund_id=item.fund_id,
                principal_fen=item.principal_fen,
            )
            fund = self.funds[item.fund_id]
            self.funds[item.fund_id] = replace(
                fund, covered_fen=Fen(fund.covered_fen + item.principal_fen)
            )
        elif isinstance(item, Released):
            self.release(item.loan_id, item.why)
        elif isinstance(item, Back):
            self.shared[item.recovery_id] = item.shares

    # --- money ------------------------------------------------------------------------------------

    def money(self, item: Money) -> None:
        """Money of a fund moved; never more leaves than there would have been."""
        fund = self.funds[item.fund_id]
        out = [(place, -change) for place, change in item.changes if change < 0]
        left = 0
        for place, wanted in out:
            holds = dict(fund.accounts).get(place, 0) if place else fund.undivided_fen
            taken = Fen(min(holds, wanted))
            fund = accounts.pay_out(fund, taken, place)
            left += taken
            self.withheld += wanted - taken
        for place, change in item.changes:
            if change > 0:
                came = min(change, left) if out else change
                left -= came if out else 0
                fund = accounts.receive_apart(fund, Fen(came), place)
        self.funds[item.fund_id] = fund

    def pay_debts(self, fund_ids: Iterable[UUID]) -> None:
        """Funds that received money pay what they owe, oldest first, as they do at work."""
        for fund_id in sorted(set(fund_ids)):
            if not self.funds[fund_id].owed_fen:
                continue
            owing = sorted(
                (
                    part
                    for parts in self.parts.values()
                    for part in parts
                    if part.fund_id == fund_id and part.owed_fen
                ),
                key=lambda part: (self._decided(part.case_id), part.case_id, part.position),
            )
            lenders = {p.case_id: self.history.cases[p.case_id].lender_id for p in owing}
            self.funds[fund_id], payments = money.pay_debts(self.funds[fund_id], owing, lenders)
            for payment in payments:
                self._put(payment.part)

    def _decided(self, case_id: UUID) -> date:
        return self.history.cases[case_id].decided_on or date.max

    def _put(self, part: Part) -> None:
        self.parts[part.case_id] = tuple(
            part if each.position == part.position else each for each in self.parts[part.case_id]
        )

    # --- cover ------------------------------------------------------------------------------------

    def model_of(self, held: Cover) -> SharingModel | None:
        """The model of the books where the pack has it for such a loan, else what it says."""
        terms = self.rules.terms
        products = {product.id: product.sharing_models for product in terms.pack.loan_products}
        product_id = held.product_id if held.product_id in products else ""
        chosen = held.model_id or self.rules.choices.get(product_id, "")
        if not product_id and held.model_id and terms.pack.fund is not None:
            for model in terms.pack.fund.models:
                if model.id == held.model_id and held.borrower_class in model.borrower_classes:
                    return model
        return cover.sharing_model(terms, held.borrower_class, product_id=product_id, chosen=chosen)

    def ask(self, item: Asked) -> None:
        """Decide on cover as the live path does, with the funds as they would have been."""
        held = replace(self.covers[item.loan_id], principal_fen=item.principal_fen)
        reason = ""
        if held.state is not CoverState.RESERVED:
            done = self._reserve(held, item)
            reason = done.reason
            held = done.cover
            if done.fund is not None:
                self.funds[done.fund.fund_id] = done.fund
        # The model stays the books' own, for the next time it is asked.
        model_id = self.covers[item.loan_id].model_id
        self.covers[item.loan_id] = replace(held, model_id=model_id)
        self.booked[item.loan_id] = item.fund_id is not None
        self.refused.pop(item.loan_id, None)
        if reason:
            self.refused[item.loan_id] = reason

    def _reserve(self, held: Cover, item: Asked) -> cover.Reservation:
        try:
            model = self.model_of(held)
            there = [f for f in self.funds.values() if f.fund_id.int >> 80 <= item.moment]
            found = accounts.pots(there, area_code=held.area_code)
            fund = cover.backing_fund(model, found) if model else None
            if model is None or fund is None:
                return cover.refuse(held, "NO_FUND")
            multiple = known(self.rules.terms.fund.multiple)
            reserve = cover.take_over if held.opening else cover.reserve
            return reserve(held, fund, model_id=model.id, multiple=multiple, on=item.on)
        except LiandongError as error:
            return cover.refuse(held, error.reason)

    def release(self, loan_id: UUID, why: str) -> None:
        """Cover that would have been there goes back."""
        held = self.covers[loan_id]
        if held.state is not CoverState.RESERVED or held.fund_id is None:
            return
        fund = self.funds[held.fund_id]
        state = CoverState(why) if why in list(CoverState) else CoverState.RELEASED
        self.covers[loan_id], self.funds[fund.fund_id] = cover.release(held, fund, state)

    def keeps(self, why: str) -> bool:
        """Whether the pack lacks the rule by which the books gave cover back."""
        pack = self.rules.terms.pack
        if why == "voided":
            return pack.monitoring is None or not pack.monitoring.breakers
        return why == "expired" and (pack.fund is None or pack.fund.cover_expiry is None)

    # --- cases ------------------------------------------------------------------------------------

    def pay(self, item: Paid) -> None:
        """Share the loss of a case as the pack says, or leave it with its lender."""
        case = self.history.cases[item.case_id]
        held = self.covers[case.loan_id]
        try:
            made = self._compensated(case, held, item.on)
        except LiandongError as error:
            self.tried[case.case_id] = Tried(case, item.on, (), error.reason)
            self.parts[case.case_id] = (_own_loss(case),)
        else:
            for fund in made.funds:
                self.funds[fund.fund_id] = fund
            self.tried[case.case_id] = Tried(case, item.on, (), "")
            self.parts[case.case_id] = tuple(
                _confirmed(part, self.history.parts.get(case.case_id, ()))
                for part in made.case_file.parts
            )
        self.release(case.loan_id, CoverState.COMPENSATED.value)

    def accepted(self, case: Case, held: Cover) -> SharingModel:
        """The model by which a case would have been taken up; refused as the live path would."""
        backed = cases.check_covered(held, case.loan_id)
        model = self.model_of(backed)
        if model is None:
            raise Refused("LOAN_NOT_COVERED", f"no model for loan {case.loan_id}")
        pack = self.rules.terms.pack
        arrears = self._arrears(case)
        booked = self.history.triggers.get(case.case_id)
        if booked is None or booked.trigger != model.trigger:
            listed = pack.monitoring.risk_list if pack.monitoring else None
            cases.check_trigger(model, arrears, listed)
        cases.check_cause(model, case.cause)
        cases.check_shown(model, case.shows)
        cases.check_filed_in_time(model, arrears, self.rules.terms.fund.case_deadlines)
        return model

    def _arrears(self, case: Case) -> Arrears:
        loan = self.history.loans.get(case.loan_id)
        nothing = Amounts(_NOTHING, _NOTHING)
        return Arrears(
            stated_on=case.stated_on,
            overdue_days=case.overdue_days,
            non_performing=loan is not None and loan.non_performing,
            stated=nothing,
            paid_since=nothing,
            five_tier_class=loan.five_tier_class if loan else "",
        )

    def _compensated(self, case: Case, held: Cover, on: date) -> cases.Compensation:
        model = self.accepted(case, held)
        funds = [f for f in self.funds.values() if f.state is not FundState.CLOSED]
        insured = [
            each
            for each in self.history.insured.get(case.loan_id, ())
            if each.until_on is None or each.until_on >= case.filed_on
        ]
        named = {
            party: self.rules.parties.get(party) or (f"({party})",)
            for party in (*model.parties, *model.pots, *model.shares, model.otherwise_borne_by)
            if party != cases.LENDER or party in self.rules.parties
        }
        asked = replace(case, loss_fen=self.loss(case, model), paid_counted_fen=_NOTHING)
        return cases.compensate(
            asked,
            model=model,
            paid_since=Amounts(_NOTHING, _NOTHING),
            funds=accounts.pots(
                funds,
                area_code=held.area_code,
                owner_id=self.history.owners.get(case.loan_id, str(held.borrower_id or "")),
            ),
            parties={**self.rules.parties, **named},
            insured=insured,
            reason=case.reason,
            person_id=case.decided_by,
            today=on,
        )

    def loss(self, case: Case, model: SharingModel) -> Fen:
        """The loss by the pack's base; as it stands where the other base is not known."""
        booked = self.history.triggers.get(case.case_id)
        if booked is None or known(booked.base) == known(model.base):
            return case.loss_fen
        loan = self.history.loans.get(case.loan_id)
        decided = case.decided_on or date.max
        if loan is None or loan.stated_on > decided:
            self.assumed += 1
            return case.loss_fen
        paid = [each for each in loan.payments if loan.stated_on < each[0] <= decided]
        principal = max(0, loan.principal_fen - sum(each[1] for each in paid))
        if known(model.base) == "principal":
            return Fen(min(case.loss_fen, principal))
        if loan.stated_on != case.stated_on:
            self.assumed += 1
            return case.loss_fen
        # Less than the principal was claimed: no more is.
        if case.loss_fen < principal:
            return case.loss_fen
        return Fen(principal + max(0, loan.interest_fen - sum(each[2] for each in paid)))

    # --- what comes back --------------------------------------------------------------------------

    def back(self, item: Back) -> None:
        """Share what came back, as the live path does; funds pay debts with it."""
        case = self.history.cases[item.case_id]
        shared = cases.share_back(
            self.parts[item.case_id], item.amount_fen, costs_fen=item.costs_fen
        )
        self.parts[item.case_id] = shared.parts
        self.shared[item.recovery_id] = shared.shares
        by_position = {part.position: part for part in shared.parts}
        received = []
        for position, amount in shared.shares:
            fund_id = by_position[position].fund_id
            if fund_id is not None:
                self.funds[fund_id] = money.receive(self.funds[fund_id], amount, case.lender_id)
                received.append(fund_id)
        self.pay_debts(received)

    def gone(self, item: Gone) -> None:
        """The mirror of a recovery; what a fund has spent of it it owes again."""
        lender_id = self.history.cases[item.case_id].lender_id
        for position, amount in self.shared.pop(item.recovery_id, ()):
            part = next(p for p in self.parts[item.case_id] if p.position == position)
            fund = self.funds[part.fund_id] if part.fund_id else None
            taken = recoveries.take_back(part, fund, amount, lender_id)
            self._put(taken.part)
            if taken.fund is None:
                continue
            self.funds[taken.fund.fund_id] = taken.fund
            if taken.owed_again_fen:
                self._owe_again(taken.fund.fund_id, (item.case_id, position), taken.owed_again_fen)

    def _owe_again(self, fund_id: UUID, own: tuple[UUID, int], missing: Fen) -> None:
        paid = [
            part
            for parts in self.parts.values()
            for part in parts
            if part.fund_id == fund_id and part.paid_fen > 0
        ]
        paid.sort(key=lambda p: (self._decided(p.case_id), p.case_id, p.position), reverse=True)
        paid.sort(key=lambda p: (p.case_id, p.position) != own)
        try:
            for part in recoveries.owe_again(paid, missing):
                self._put(part)
        except Refused:
            # Under this pack the fund never had that much to give back.
            self.withheld += missing

    def step(self, item: Item) -> None:
        """One item of the history under the pack."""
        if isinstance(item, Money):
            if item.kind not in ENDOGENOUS:
                self.money(item)
                if item.kind in FREES_DEBTS:
                    self.pay_debts([item.fund_id])
        elif isinstance(item, Asked):
            self.ask(item)
        elif isinstance(item, Released):
            if item.why != CoverState.COMPENSATED.value and not self.keeps(item.why):
                self.release(item.loan_id, item.why)
        elif isinstance(item, Paid):
            self.pay(item)
        elif isinstance(item, Back):
            self.back(item)
        else:
            self.gone(item)


def _own_loss(case: Case) -> Part:
    """All of a loss stays with its lender."""
    return Part(
        county_code=case.county_code,
        case_id=case.case_id,
        position=0,
        layer=NOT_ACCEPTED,
        party=cases.LENDER,
        institution_id=case.lender_id,
        fund_id=None,
        own_loss=True,
        amount_fen=case.loss_fen,
        paid_fen=case.loss_fen,
        recovered_fen=_NOTHING,
    )


def _confirmed(part: Part, booked: Sequence[Part]) -> Part:
    """An institution that paid its share in the books would have paid this one as well."""
    if part.fund_id is not None or part.own_loss:
        return part
    mine = [b for b in booked if b.institution_id == part.institution_id and not b.own_loss]
    paid = sum(each.paid_fen for each in mine)
    whole = bool(mine) and all(each.owed_fen == 0 for each in mine)
    return replace(part, paid_fen=part.amount_fen if whole else Fen(min(paid, part.amount_fen)))


def replay(history: History, rules: Rules, *, since: date) -> Outcome:
    """Replay a history under a pack that holds since a day; before it the books are followed."""
    run = _Replay(history, rules, since)
    run.funds = {
        fund.fund_id: replace(
            fund,
            state=FundState.OPEN,
            balance_fen=_NOTHING,
            covered_fen=_NOTHING,
            owed_fen=_NOTHING,
            leverage_reached=False,
            accounts=(),
        )
        for fund in history.funds
    }
    run.covers = {
        loan_id: replace(held, state=CoverState.ASKED, fund_id=None)
        for loan_id, held in history.covers.items()
    }
    for item in history.log:
        if item.on < since and not run.begun:
            run.book(item)
            continue
        if not run.begun:
            run.begin()
        run.step(item)
    if not run.begun:
        run.begin()
    return _outcome(run)


def _outcome(run: _Replay) -> Outcome:
    tried = [replace(each, parts=run.parts[case_id]) for case_id, each in run.tried.items()]
    reasons = Counter(each.reason for each in tried if each.reason)
    for case in run.history.cases.values():
        waiting = case.state not in (*ALIVE, CaseState.DENIED) and case.filed_on >= run.since
        if waiting:
            try:
                run.accepted(case, run.covers[case.loan_id])
            except LiandongError as error:
                reasons[error.reason] += 1
    return Outcome(
        cases=tuple(tried),
        covers={loan_id: loan_id not in run.refused for loan_id in run.booked},
        not_accepted=dict(sorted(reasons.items())),
        covers_refused=dict(
            sorted(Counter(why for loan, why in run.refused.items() if run.booked[loan]).items())
        ),
        covers_granted=sum(
            not given and loan not in run.refused for loan, given in run.booked.items()
        ),
        loss_assumed=run.assumed,
        withheld_fen=Fen(run.withheld),
    )


def lines(files: Iterable[tuple[date, Iterable[Part]]]) -> dict[tuple[int, str], Line]:
    """Parts by the year in which their case was paid, and by institution."""
    found: dict[tuple[int, str], Line] = {}
    for on, parts in files:
        for part in parts:
            key = (on.year, part.institution_id)
            line = found.get(key) or Line(*key)
            found[key] = replace(
                line,
                borne_fen=Fen(line.borne_fen + part.amount_fen),
                paid_fen=Fen(line.paid_fen + part.paid_fen),
                owed_fen=Fen(line.owed_fen + part.owed_fen),
                recovered_fen=Fen(line.recovered_fen + part.recovered_fen),
            )
    return found


def files_of(outcome: Outcome) -> list[CaseFile]:
    """The cases as they would stand."""
    return [CaseFile(each.case, each.parts) for each in outcome.cases]
