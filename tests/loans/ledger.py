"""A plain model of one loan: its facts and their days, worked again from nothing in fractions."""

from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any


@dataclass(frozen=True)
class Fact:
    """One thing that happened to the loan."""

    number: int
    kind: str
    day: date
    fen: int = 0
    """Money in or given back; or the principal of what has a split."""
    interest: int = 0
    rate_ppm: int = 0
    undone: bool = False


@dataclass
class Sums:
    """What the facts come to on a day."""

    outstanding: int = 0
    owed: int = 0
    suspense: int = 0
    treasury: int = 0
    charged: int = 0
    """All interest that the household was ever charged."""
    lent: int = 0
    raised: int = 0
    """Interest that came with a fact: an opening, a payout that was undone."""
    came_in: int = 0
    given_back: int = 0
    given_of_debt: int = 0
    """Of it, what the debt had needed; it is owed again."""
    repaid: int = 0
    """Principal that money paid and that is not owed again."""
    forgiven: int = 0
    paid_principal: int = 0
    paid_interest: int = 0
    paid: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By fact, interest and principal that it took."""

    @property
    def balanced(self) -> bool:
        """What went out and was charged is what came in, was forgiven, or is still owed."""
        out = self.lent + self.charged + self.raised
        back = self.came_in - self.suspense - self.given_back + self.forgiven
        return out == back + self.outstanding + self.owed


def whole(value: Fraction) -> int:
    """Half up to the fen."""
    return floor(value + Fraction(1, 2))


@dataclass
class Ledger:
    """The facts of one loan and how its contract reads them."""

    day_basis: int
    principal_first: bool
    subsidised: bool
    facts: list[Fact] = field(default_factory=list)

    def add(self, kind: str, day: date, **values: Any) -> Fact:
        """Note a fact; its number counts undoings too, as a statement's lines do."""
        self.facts.append(Fact(self.next_number, kind, day, **values))
        return self.facts[-1]

    @property
    def next_number(self) -> int:
        """The number of the next line."""
        return len(self.facts) + sum(fact.undone for fact in self.facts) + 1

    def undo(self, number: int) -> None:
        """Take a fact back as if it had never been."""
        place = next(i for i, fact in enumerate(self.facts) if fact.number == number)
        self.facts[place] = replace(self.facts[place], undone=True)

    def alive(self, kind: str) -> list[Fact]:
        """Facts of a kind that still count."""
        return [fact for fact in self.facts if fact.kind == kind and not fact.undone]

    def on(self, day: date) -> Sums:
        """Work everything from the first fact to a day; facts of later days are not known yet."""
        sums = Sums()
        rate, subsidised = 0, self.subsidised
        own, treasury = Fraction(0), Fraction(0)
        settled, settled_treasury = 0, 0
        at: date | None = None
        counted = sorted(
            (fact for fact in self.facts if not fact.undone and fact.day <= day),
            key=lambda fact: (fact.day, fact.number),
        )
        for fact in [*counted, Fact(0, "end", day)]:
            grown = Fraction(0)
            if at is not None:
                days = (fact.day - at).days
                grown = Fraction(sums.outstanding * rate * days, self.day_basis * 1_000_000)
            at = fact.day
            own, treasury = (own, treasury + grown) if subsidised else (own + grown, treasury)
            sums.owed += whole(own) - settled
            settled, settled_treasury = whole(own), whole(treasury)
            rate = fact.rate_ppm or rate
            subsidised = subsidised and fact.kind != "subsidy_stop"
            self._act(sums, fact)
        sums.charged, sums.treasury = settled, settled_treasury
        return sums

    def _act(self, sums: Sums, fact: Fact) -> None:
        match fact.kind:
            case "disbursement" | "opening" | "payout_undone":
                sums.outstanding += fact.fen
                sums.owed += fact.interest
                sums.lent += fact.fen
                sums.raised += fact.interest
                if fact.kind == "payout_undone":
                    sums.repaid -= fact.fen
            case "repayment" | "payout":
                first = min(fact.fen, sums.outstanding if self.principal_first else sums.owed)
                second = min(
                    fact.fen - first, sums.owed if self.principal_first else sums.outstanding
                )
                interest, principal = (second, first) if self.principal_first else (first, second)
                sums.came_in += fact.fen
                sums.suspense += fact.fen - first - second
                self._take(sums, fact, interest, principal)
            case "discount" | "write_off":
                interest, principal = (
                    min(fact.interest, sums.owed),
                    min(fact.fen, sums.outstanding),
                )
                sums.forgiven += interest + principal
                self._take(sums, fact, interest, principal)
            case "refund":
                held = min(fact.fen, sums.suspense)
                sums.suspense -= held
                sums.given_back += fact.fen
                # The rest was owed after all: principal as far as any was paid, else interest.
                again = fact.fen - held
                principal = min(again, max(0, sums.repaid))
                sums.given_of_debt += again
                sums.outstanding += principal
                sums.repaid -= principal
                sums.owed += again - principal
                sums.paid_principal -= principal
                sums.paid_interest -= again - principal

    @staticmethod
    def _take(sums: Sums, fact: Fact, interest: int, principal: int) -> None:
        sums.owed -= interest
        sums.outstanding -= principal
        sums.paid[fact.number] = (interest, principal)
        if fact.kind in ("repayment", "payout"):
            sums.repaid += principal
        if fact.kind != "write_off":
            sums.paid_interest += interest
            sums.paid_principal += principal
