"""
What must hold of the books: after each step of a history, and when all is quiet (faults.md, B.0).

Everything is read from the rows themselves, by one query a service. A rule that is broken is a line
of text; none is an exception, so that a mutant shows all that it breaks.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.sagas.county import MULTIPLE, Room

Row = Mapping[str, Any]

TABLES: Mapping[str, tuple[str, ...]] = {
    "loans": (
        *("loan", "posting", "borrower", "allocation", "allocation_part", "compensation"),
        *("journal", "parked_event"),
    ),
    "claims": (
        *("claim", "insured", "payout", "payout_part", "instruction", "payout_reversal"),
        *("receivable", "journal", "parked_event"),
    ),
    "funds": (
        *("fund", "contribution", "cover", "compensation_case", "case_part", "recovery"),
        *(
            "recovery_share",
            "recovery_reversal",
            "loan_statement",
            "loan_payment",
            "journal",
            "parked_event",
        ),
    ),
}


@dataclass(frozen=True)
class Books:
    """All rows of one county in the three services at one moment."""

    rows: Mapping[str, Mapping[str, Sequence[Row]]]

    def of(self, noun: str, table: str) -> Sequence[Row]:
        """The rows of a table."""
        return self.rows[noun][table]

    def by(self, noun: str, table: str, *names: str) -> dict[Any, Row]:
        """The rows of a table by a key."""
        return {_key(row, names): row for row in self.of(noun, table)}

    def many(self, noun: str, table: str, *names: str) -> dict[Any, list[Row]]:
        """The rows of a table that share a key."""
        found: dict[Any, list[Row]] = defaultdict(list)
        for row in self.of(noun, table):
            found[_key(row, names)].append(row)
        return found

    def balances(self, noun: str) -> Counter[tuple[str, str]]:
        """Debits less credits by account and owner."""
        found: Counter[tuple[str, str]] = Counter()
        for row in self.of(noun, "journal"):
            found[row["debit_account"], row["debit_id"]] += row["amount_fen"]
            found[row["credit_account"], row["credit_id"]] -= row["amount_fen"]
        return found


def _key(row: Row, names: Sequence[str]) -> Any:
    return row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)


def _query(tables: Sequence[str]) -> str:
    parts = ", ".join(
        # In an order of its own: that of a plan may change between two looks.
        f"'{table}', (SELECT coalesce(json_agg(t ORDER BY t), '[]')"
        f" FROM {table} AS t WHERE county_code = $1)"
        for table in tables
    )
    return f"SELECT json_build_object({parts})::text"


_QUERIES = {noun: _query(tables) for noun, tables in TABLES.items()}


async def read(rooms: Mapping[str, Room], county_code: str) -> Books:
    """The books as they are now."""
    found = {}
    for noun, room in rooms.items():
        ((text,),) = await room.schema.ask(_QUERIES[noun], county_code)
        found[noun] = json.loads(text)
    return Books(found)


# --- after each step ------------------------------------------------------------------------------


Groups = Mapping[str, Sequence[Sequence[str]]]
"""By payout, the loans that it goes toward, rank by rank."""


def broken(before: Books, now: Books, groups: Groups) -> list[str]:
    """Every rule that a step broke."""
    found: list[str] = []
    for rule in (
        *(_journals, _loans, _conserved, _taken, _divided),
        *(_payouts, _instructions, _reversals, _claims, _funds, _cases),
    ):
        found += [f"{rule.__name__[1:]}: {line}" for line in rule(before, now)]
    found += [f"ranked: {line}" for line in _ranked(before, now, groups)]
    return found


def _journals(before: Books, now: Books) -> Iterator[str]:
    """Append-only, and one entry a cause (G1, G2, G10)."""
    for noun in TABLES:
        held = now.by(noun, "journal", "entry_id", "line")
        for key, row in before.by(noun, "journal", "entry_id", "line").items():
            if held.get(key) != row:
                yield f"{noun} changed or lost an entry of {row['kind']}"
        entries: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in held.values():
            entries[row["kind"], row["cause_id"]].add(row["entry_id"])
        for (kind, cause), ids in entries.items():
            if len(ids) > 1:
                yield f"{noun} posted {kind} of {cause} {len(ids)} times"
        for row in now.of(noun, "parked_event"):
            yield f"{noun} parked {row['event_type']}: {row['reason']}"


def _loans(before: Books, now: Books) -> Iterator[str]:
    """Nothing is negative, and each loan is what its accounts say (G4)."""
    held = now.balances("loans")
    losses = {row["loan_id"]: row["loss_fen"] for row in now.of("loans", "compensation")}
    exposures: Counter[str] = Counter()
    for loan in now.of("loans", "loan"):
        loan_id = loan["loan_id"]
        names = ("outstanding_fen", "interest_owed_fen", "suspense_fen", "subrogated_fen")
        if min(loan[name] for name in names) < 0:
            yield f"loan {loan_id} holds less than nothing: {[loan[name] for name in names]}"
        said = (loan["outstanding_fen"], loan["interest_owed_fen"], -loan["suspense_fen"])
        accounts = ("loan_principal", "loan_interest", "suspense")
        booked = tuple(held[name, loan_id] for name in accounts)
        if said != booked:
            yield f"loan {loan_id} is {said}, its accounts {booked}"
        owed = loan["outstanding_fen"] + loan["interest_owed_fen"]
        # A repayment dated back lowers interest that was compensated: its lender owes that (S22).
        if loan["subrogated_fen"] > min(losses.get(loan_id, 0), owed):
            yield f"loan {loan_id}: {loan['subrogated_fen']} of {owed} owed is others'"
        if loan["state"] == "settled" and owed:
            yield f"loan {loan_id} is settled and owes {owed}"
        if loan["state"] == "active" and not owed:
            yield f"loan {loan_id} is active and owes nothing"
        if loan["state"] not in ("refused", "settled"):
            drawn = loan["disbursed_on"] is not None
            exposures[loan["household_id"]] += (
                loan["outstanding_fen"] if drawn else loan["principal_fen"]
            )
    for borrower in now.of("loans", "borrower"):
        if borrower["exposure_fen"] != exposures[borrower["household_id"]]:
            yield f"household {borrower['household_id']} owes another sum than it is said to"


def _conserved(before: Books, now: Books) -> Iterator[str]:
    """What went out and was charged came back, or is owed, or is held for the payer."""
    came: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in now.of("loans", "posting"):
        sign = 1 if row["reverses"] is None else -1
        fen = sign * (row["amount_fen"] or row["interest_fen"] + row["principal_fen"])
        kinds[row["loan_id"]][row["kind"]] += fen
        came[row["loan_id"]] += fen * IN.get(row["kind"], 0)
    for loan in now.of("loans", "loan"):
        if loan["disbursed_on"] is None:
            continue
        out = loan["principal_fen"] + loan["household_posted_fen"]
        owed = loan["outstanding_fen"] + loan["interest_owed_fen"] - loan["suspense_fen"]
        if out != came[loan["loan_id"]] + owed:
            yield f"loan {loan['loan_id']}: {out} out, {owed} owed, {kinds[loan['loan_id']]}"


IN = {"repayment": 1, "payout": 1, "refund": -1, "payout_undone": -1}
"""Which postings bring money to a loan, and which give it back."""


def _owed(books: Books) -> dict[str, tuple[int, int]]:
    """By loan: what is owed, and all interest that was ever charged."""
    return {
        loan["loan_id"]: (
            loan["outstanding_fen"] + loan["interest_owed_fen"],
            loan["household_posted_fen"],
        )
        for loan in books.of("loans", "loan")
    }


def _taken(before: Books, now: Books) -> Iterator[str]:
    """What new payouts took is what less is owed; who has a rest left owes nothing (G3)."""
    old = before.by("loans", "allocation", "payout_id")
    fresh = [
        row
        for row in now.of("loans", "allocation")
        if row["payout_id"] not in old and not row["corrections"] and not row["reversed_on"]
    ]
    parts = now.many("loans", "allocation_part", "payout_id")
    was, is_now = _owed(before), _owed(now)
    others = before.by("loans", "loan", "loan_id")
    taken: Counter[str] = Counter()
    gave: Counter[str] = Counter()
    for row in fresh:
        for part in parts[row["payout_id"]]:
            taken[part["loan_id"]] += part["interest_fen"] + part["principal_fen"]
            gave[part["loan_id"]] += part["subrogated_fen"]
    known = before.by("loans", "posting", "loan_id", "number")
    # Where something was taken back in the same batch, what remains shows nothing of this.
    mixed = {
        row["loan_id"]
        for key, row in now.by("loans", "posting", "loan_id", "number").items()
        if key not in known and (row["kind"] != "payout" or row["reverses"] is not None)
    }
    noted = before.by("loans", "compensation", "case_id")
    mixed |= {
        row["loan_id"] for row in now.of("loans", "compensation") if row["case_id"] not in noted
    }
    for loan_id, fen in taken.items():
        if loan_id in mixed:
            continue
        charged = is_now[loan_id][1] - was[loan_id][1]
        if was[loan_id][0] + charged - fen != is_now[loan_id][0]:
            yield (
                f"loan {loan_id} owed {was[loan_id][0]}, {charged} was charged, {fen} taken,"
                f" {is_now[loan_id][0]} is owed"
            )
        held = others[loan_id]["subrogated_fen"]
        if part := min(fen, held) - gave[loan_id]:
            yield f"loan {loan_id}: {part} of what was taken belongs to those who paid"


def _divided(before: Books, now: Books) -> Iterator[str]:
    """The parts of a payout sum to it, and are what was posted."""
    parts = now.many("loans", "allocation_part", "payout_id")
    for payout_id, row in now.by("loans", "allocation", "payout_id").items():
        lenders = sum(p["interest_fen"] + p["principal_fen"] for p in parts[payout_id])
        if lenders != row["lenders_fen"] or lenders + row["household_fen"] != row["amount_fen"]:
            yield f"payout {payout_id}: {lenders} + {row['household_fen']} of {row['amount_fen']}"
    posted: Counter[tuple[str, str]] = Counter()
    for row in now.of("loans", "posting"):
        if row["kind"] == "payout" and row["reverses"] is None:
            posted[row["reference"], row["loan_id"]] += row["amount_fen"]
    undone = {
        (row["loan_id"], row["reverses"])
        for row in now.of("loans", "posting")
        if row["reverses"] is not None
    }
    for row in now.of("loans", "posting"):
        if row["kind"] == "payout" and (row["loan_id"], row["number"]) in undone:
            posted[row["reference"], row["loan_id"]] -= row["amount_fen"]
    allotted = {
        (part["payout_id"], part["loan_id"]): part["interest_fen"] + part["principal_fen"]
        for part in now.of("loans", "allocation_part")
    }
    if {key: fen for key, fen in posted.items() if fen} != allotted:
        yield f"postings of payouts {posted} are not their parts {allotted}"
    mirrored = {
        (row["reference"], row["loan_id"]): row["amount_fen"]
        for row in now.of("loans", "posting")
        if row["kind"] == "payout_undone"
    }
    back = {
        key: fen
        for key, fen in allotted.items()
        if now.by("loans", "allocation", "payout_id")[key[0]]["reversed_on"]
    }
    if mirrored != back:
        yield f"payouts taken back are posted {mirrored}, their parts were {back}"


def _ranked(before: Books, now: Books, groups: Groups) -> Iterator[str]:
    """Who comes later gets something only when all before it are owed nothing more (G3)."""
    old = before.by("loans", "allocation", "payout_id")
    parts = now.many("loans", "allocation_part", "payout_id")
    owed = _owed(now)
    states = {row["loan_id"]: row["state"] for row in now.of("loans", "loan")}
    for payout_id, row in now.by("loans", "allocation", "payout_id").items():
        if payout_id in old or row["corrections"] or row["reversed_on"]:
            continue
        took = {part["loan_id"] for part in parts[payout_id]}
        waiting: list[str] = []
        for group in groups.get(payout_id, ()):
            if waiting and took & set(group):
                yield f"payout {payout_id} went past {waiting}"
            waiting += [
                each for each in group if states.get(each) == "active" and owed[each][0] > 0
            ]
        if waiting and row["household_fen"]:
            yield f"payout {payout_id} left the household a rest, {waiting} are owed more"


def _payouts(before: Books, now: Books) -> Iterator[str]:
    """A payout is divided as loans divided it, to the fen, and for good."""
    parts = now.many("claims", "payout_part", "payout_id")
    there = now.many("loans", "allocation_part", "payout_id")
    allocations = now.by("loans", "allocation", "payout_id")
    old = before.by("claims", "payout", "payout_id")
    for payout_id, payout in now.by("claims", "payout", "payout_id").items():
        if payout["state"] == "authorised":
            continue
        divided = {p["loan_id"]: (p["amount_fen"], p["subrogated_fen"]) for p in parts[payout_id]}
        lenders = sum(amount for amount, _ in divided.values())
        if lenders != payout["lenders_fen"]:
            yield f"payout {payout_id}: parts {lenders}, lenders {payout['lenders_fen']}"
        if lenders + payout["household_fen"] != payout["amount_fen"]:
            yield f"payout {payout_id} is {payout['amount_fen']}, divided {lenders} + household"
        allotted = {
            p["loan_id"]: (p["interest_fen"] + p["principal_fen"], p["subrogated_fen"])
            for p in there[payout_id]
        }
        allocation = allocations.get(payout_id)
        if allocation is None:
            yield f"payout {payout_id} was never allocated"
        elif allocation["corrections"] == payout["corrections_answered"] and divided != allotted:
            yield f"payout {payout_id} is divided {divided}, loans divided it {allotted}"
        was = old.get(payout_id)
        if was and was["state"] != "authorised" and was["corrections"] == payout["corrections"]:
            answered = was["corrections_answered"] == payout["corrections_answered"]
            for name in ("amount_fen", "lenders_fen", "household_fen"):
                if was[name] != payout[name] and answered:
                    yield f"payout {payout_id} changed {name} after it was divided"


def _instructions(before: Books, now: Books) -> Iterator[str]:
    """Lenders before the household, each once, nobody more than is its own (G2, G5)."""
    old = before.by("claims", "instruction", "instruction_id")
    held = now.balances("claims")
    of_payout = now.many("claims", "instruction", "payout_id")
    parts = now.many("claims", "payout_part", "payout_id")
    for payout_id, payout in now.by("claims", "payout", "payout_id").items():
        own = of_payout[payout_id]
        lenders = [each for each in own if each["payee_kind"] == "lender"]
        household = [each for each in own if each["payee_kind"] == "household"]
        instructed: Counter[str] = Counter()
        for each in lenders:
            instructed[each["loan_id"]] += _given(each)
        due = {p["loan_id"]: p["amount_fen"] for p in parts[payout_id] if p["amount_fen"]}
        answered = payout["corrections"] == payout["corrections_answered"]
        if answered and {loan: fen for loan, fen in instructed.items() if fen} != due:
            yield f"payout {payout_id} instructs {dict(instructed)}, its lenders' parts are {due}"
        to_household = sum(map(_given, household))
        if to_household > payout["household_fen"]:
            yield f"payout {payout_id} gives the household {to_household}"
        confirmed = answered and all(each["state"] == "confirmed" for each in lenders)
        old_ones = all(each["instruction_id"] in old for each in household)
        if not (old_ones or confirmed or payout["household_at_once"]):
            yield f"payout {payout_id} pays the household before its lenders have confirmed"
        if payout["state"] in ("settled", "reversed"):
            paid = sum(each["confirmed_fen"] for each in own)
            if paid != payout["amount_fen"]:
                yield f"payout {payout_id} is settled, {paid} of {payout['amount_fen']} was paid"
        payable = -held["payout_payable", payout_id]
        if payable != payout["amount_fen"] - sum(map(_given, own)):
            yield f"payout {payout_id}: {payable} is payable by the journal"
    for instruction_id, row in now.by("claims", "instruction", "instruction_id").items():
        was = old.get(instruction_id)
        if was and (was["amount_fen"], was["payee_id"]) != (row["amount_fen"], row["payee_id"]):
            yield f"instruction {instruction_id} was changed"
        if was and was["state"] == "confirmed" and was != row:
            yield f"instruction {instruction_id} was changed after it was confirmed"
        open_fen = 0 if row["state"] == "confirmed" else row["amount_fen"]
        silent = row["state"] == "unknown"
        booked = (
            -held["instruction_payable", instruction_id],
            -held["payment_suspense", instruction_id],
        )
        if booked != ((0, open_fen) if silent else (open_fen, 0)):
            yield f"instruction {instruction_id} is {row['state']}, its account disagrees"
        if row["confirmed_by"] not in ("", row["payee_id"], row["insurer_id"]):
            yield f"instruction {instruction_id} was confirmed by {row['confirmed_by']}"


def _given(instruction: Row) -> int:
    """What an instruction gives its payee, as far as is known."""
    confirmed = instruction["state"] == "confirmed"
    given: int = instruction["confirmed_fen"] if confirmed else instruction["amount_fen"]
    return given


def _reversals(before: Books, now: Books) -> Iterator[str]:
    """What was taken back is owed by exactly those who had it, and nobody is debited (F11)."""
    owed = now.many("claims", "receivable", "payout_id")
    own = now.many("claims", "instruction", "payout_id")
    held = now.balances("claims")
    for payout_id, payout in now.by("claims", "payout", "payout_id").items():
        back: Counter[tuple[str, str]] = Counter()
        had: Counter[tuple[str, str]] = Counter()
        for row in owed[payout_id]:
            back[row["debtor_kind"], row["debtor_id"]] += row["amount_fen"]
            left = row["amount_fen"] - row["paid_fen"]
            if not left >= 0 or held["payout_receivable", row["receivable_id"]] != left:
                yield f"receivable {row['receivable_id']} is {left}, its account disagrees"
        if payout["state"] == "reversed":
            for row in own[payout_id]:
                had[row["payee_kind"], row["payee_id"]] += row["confirmed_fen"]
        if {key: fen for key, fen in had.items() if fen} != dict(back):
            yield f"payout {payout_id} gave {dict(had)} and {dict(back)} is owed back"


def _claims(before: Books, now: Books) -> Iterator[str]:
    """No claim pays more than the loss or the sum insured; one payout a claim (F9)."""
    sums = now.by("claims", "insured", "insured_id")
    payouts = now.many("claims", "payout", "claim_id")
    for claim in now.of("claims", "claim"):
        if claim["insured_id"] is None:
            # A report that was refused is kept, and nobody is insured for it.
            if claim["state"] != "refused":
                yield f"{claim['claim_id']} is {claim['state']} of nobody who is insured"
            continue
        most = min(claim["assessed_fen"], sums[claim["insured_id"]]["sum_insured_fen"])
        if claim["payable_fen"] > most:
            yield f"claim {claim['claim_id']} pays {claim['payable_fen']}, at most {most}"
        own = payouts[claim["claim_id"]]
        if len(own) != (claim["state"] == "approved"):
            yield f"claim {claim['claim_id']} is {claim['state']} and has {len(own)} payouts"
        if own and own[0]["amount_fen"] != claim["payable_fen"]:
            yield f"payout of claim {claim['claim_id']} is another sum"


def _funds(before: Books, now: Books) -> Iterator[str]:
    """A fund is what came in less what it paid, and stands behind no more than it may (G6, F12)."""
    held = now.balances("funds")
    old = before.by("funds", "fund", "fund_id")
    given = now.many("funds", "contribution", "fund_id")
    parts = now.many("funds", "case_part", "fund_id")
    covers = now.many("funds", "cover", "fund_id")
    for fund_id, fund in now.by("funds", "fund", "fund_id").items():
        balance, covered, owed = fund["balance_fen"], fund["covered_fen"], fund["owed_fen"]
        if min(balance, covered, owed) < 0:
            yield f"fund {fund_id} holds less than nothing"
        moved = sum(row["amount_fen"] for row in given[fund_id])
        moved += sum(row["recovered_fen"] - row["paid_fen"] for row in parts[fund_id])
        if balance != moved or balance != held["fund_cash", fund_id]:
            yield f"fund {fund_id} holds {balance}, {moved} by rows"
        reserved = sum(c["principal_fen"] for c in covers[fund_id] if c["state"] == "reserved")
        if covered != reserved:
            yield f"fund {fund_id} stands behind {covered}, its covers are {reserved}"
        grew = covered > (old[fund_id]["covered_fen"] if fund_id in old else 0)
        if grew and covered > balance * MULTIPLE:
            yield f"fund {fund_id} stands behind {covered} with {balance}"
        open_fen = sum(row["amount_fen"] - row["paid_fen"] for row in parts[fund_id])
        if owed != open_fen:
            yield f"fund {fund_id} owes {owed}, {open_fen} by its parts"


def _cases(before: Books, now: Books) -> Iterator[str]:
    """A loss is compensated once, shared whole, and what comes back goes to those who bore it."""
    parts = now.many("funds", "case_part", "case_id")
    recoveries = now.many("funds", "recovery", "case_id")
    shares = now.many("funds", "recovery_share", "recovery_id")
    covers = now.by("funds", "cover", "loan_id")
    undone = {row["recovery_id"] for row in now.of("funds", "recovery_reversal")}
    old = before.by("funds", "compensation_case", "case_id")
    stated = now.by("funds", "loan_statement", "loan_id")
    alive = Counter(
        case["loan_id"]
        for case in now.of("funds", "compensation_case")
        if case["state"] != "denied"
    )
    for loan_id, count in alive.items():
        if count > 1:
            yield f"loan {loan_id} has {count} cases"
    for case_id, case in now.by("funds", "compensation_case", "case_id").items():
        # What is owed on the day is what the fund had heard by then; it never grows after it (S22).
        word = stated[case["loan_id"]]
        most = word["principal_fen"] + word["interest_fen"]
        most = old[case_id]["loss_fen"] if case_id in old else most
        if case["loss_fen"] > most:
            yield f"case {case_id} claims {case['loss_fen']}, at most {most} is owed"
        if case["state"] not in ("paid", "closed"):
            continue
        own = parts[case_id]
        if sum(part["amount_fen"] for part in own) != case["loss_fen"]:
            yield f"case {case_id}: parts do not sum to the loss of {case['loss_fen']}"
        if covers[case["loan_id"]]["state"] == "reserved":
            yield f"case {case_id} is paid and its cover still held"
        for part in own:
            if not 0 <= part["paid_fen"] <= part["amount_fen"]:
                yield f"case {case_id}: {part['party']} paid {part['paid_fen']}"
            if not 0 <= part["recovered_fen"] <= part["amount_fen"]:
                yield f"case {case_id}: {part['party']} got {part['recovered_fen']} back"
        yield from _recovered(case, own, recoveries[case_id], shares, undone)


def _recovered(
    case: Row,
    parts: Sequence[Row],
    recoveries: Sequence[Row],
    shares: Mapping[str, Sequence[Row]],
    undone: Collection[str],
) -> Iterator[str]:
    alive = [row for row in recoveries if row["recovery_id"] not in undone]
    by_cause = Counter((row["reference"], row["turn"]) for row in alive)
    if max(by_cause.values(), default=0) > 1:
        yield f"case {case['case_id']} shared the same money twice: {by_cause}"
    back: Counter[int] = Counter()
    for row in alive:
        own = shares.get(row["recovery_id"], ())
        given = sum(share["amount_fen"] for share in own) + row["household_fen"]
        if given + row["costs_fen"] != row["amount_fen"]:
            yield f"recovery {row['recovery_id']}: shares do not sum to {row['amount_fen']}"
        for share in own:
            back[share["position"]] += share["amount_fen"]
    whole = sum(back.values())
    for part in parts:
        got = back[part["position"]]
        if got != part["recovered_fen"]:
            yield f"case {case['case_id']}: {part['party']} got {got}, {part['recovered_fen']} said"
        # In proportion to what each bore; each sharing may round by a fen.
        off = abs(got * case["loss_fen"] - whole * part["amount_fen"])
        if off > (len(recoveries) + 1) * case["loss_fen"]:
            yield f"case {case['case_id']}: {part['party']} got {got} of {whole}"


# --- at rest --------------------------------------------------------------------------------------


def unequal(now: Books) -> list[str]:
    """What services hold differently of one another when every event is heard (G5)."""
    return [*_allocated_once(now), *_subrogated(now), *_compensated(now), *_covered(now)]


def _allocated_once(now: Books) -> Iterator[str]:
    there = now.by("loans", "allocation", "payout_id")
    here = now.by("claims", "payout", "payout_id")
    if there.keys() != here.keys():
        yield f"{len(here)} payouts were authorised, {len(there)} allocated"
    for payout_id, payout in here.items():
        if payout["state"] == "authorised":
            yield f"payout {payout_id} was never allocated"
        taken_back = payout_id in there and there[payout_id]["reversed_on"] is not None
        if taken_back != (payout["state"] == "reversed"):
            yield f"payout {payout_id} is {payout['state']}, by loans the opposite"


def _subrogated(now: Books) -> Iterator[str]:
    """What a compensated loan's payouts gave belongs to those who paid, each payout once (S21)."""
    undone = {row["recovery_id"] for row in now.of("funds", "recovery_reversal")}
    states = {row["payout_id"]: row["state"] for row in now.of("claims", "payout")}
    cases = {row["case_id"]: row["loan_id"] for row in now.of("funds", "compensation_case")}
    due = {
        (part["payout_id"], part["loan_id"]): part["subrogated_fen"]
        for part in now.of("loans", "allocation_part")
        if part["subrogated_fen"] and states.get(part["payout_id"]) == "settled"
    }
    shared: Counter[tuple[str, str]] = Counter()
    for row in now.of("funds", "recovery"):
        if row["source"] == "payout" and row["recovery_id"] not in undone:
            shared[row["reference"], cases[row["case_id"]]] += row["amount_fen"]
    if +shared != due:
        yield f"payouts gave others {due}, the funds shared {shared}"


def _compensated(now: Books) -> Iterator[str]:
    paid = {
        case["loan_id"]: case["loss_fen"]
        for case in now.of("funds", "compensation_case")
        if case["state"] in ("paid", "closed")
    }
    posted = {row["loan_id"]: row["loss_fen"] for row in now.of("loans", "compensation")}
    if paid != posted:
        yield f"funds compensated {paid}, loans noted {posted}"
    taken: Counter[str] = Counter()
    for row in now.of("loans", "journal"):
        if row["debit_account"] == "subrogated_debt":
            taken[row["debit_id"]] += row["amount_fen"]
        if row["credit_account"] == "subrogated_debt" and row["kind"] != "compensation":
            taken[row["credit_id"]] -= row["amount_fen"]
    for part in now.of("loans", "allocation_part"):
        if part["subrogated_fen"] and part["loan_id"] not in posted:
            yield f"loan {part['loan_id']} gave others a part and was never compensated"
    for loan_id, fen in taken.items():
        if not 0 <= fen <= posted.get(loan_id, 0):
            yield f"loan {loan_id} gave others {fen} of {posted.get(loan_id, 0)}"
    loan_of = {row["case_id"]: row["loan_id"] for row in now.of("funds", "compensation_case")}
    back: Counter[str] = Counter()
    for part in now.of("funds", "case_part"):
        back[loan_of[part["case_id"]]] += part["recovered_fen"]
    if +taken != +back:
        yield f"loans gave others {dict(taken)}, the funds gave them {dict(back)}"


def _covered(now: Books) -> Iterator[str]:
    covers = now.by("funds", "cover", "loan_id")
    for loan in now.of("loans", "loan"):
        cover = covers.get(loan["loan_id"])
        if cover is None:
            continue
        if loan["compensated"] and cover["state"] != "compensated":
            yield f"loan {loan['loan_id']} is compensated, its cover {cover['state']}"
        if loan["state"] == "settled" and cover["state"] == "reserved":
            yield f"loan {loan['loan_id']} is settled, its cover is held"
