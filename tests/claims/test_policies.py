"""Agreements, lists by file, endorsements, premium, certificates and assignments, on a database."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from liandong.claims.v1 import claims_pb2, events_pb2, policies_pb2
from liandong.loans.v1 import events_pb2 as loans_pb2

from services.claims import reports
from services.claims.events_in import handlers
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.policies_service import PoliciesServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Conflict, Invalid, LiandongError, NotFound, Refused
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.claims.county import (
    ADJUSTER,
    BANK,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_INSURER,
    OTHER_LENDER,
    OTHER_VILLAGE,
    PACK,
    PROGRAMME,
    REF,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    a_caller,
    a_catalogue,
    calling,
    told,
)
from tests.claims.steps import (
    a_decision,
    a_policy,
    a_report,
    books_are_whole,
    decide,
    issue,
    report,
    rows,
    said,
    take,
)

pytestmark = pytest.mark.postgres

YEAR_END = date(2021, 12, 31)
FINANCE = a_caller("finance_bureau", institution_id="fin-1")
RICH = PACK.replace(
    "      sum_insured: {of: policy}\n      premium: {open: not stated}",
    "      sum_insured: {of: policy}\n"
    "      premium: {rate_ppm: 10000, payer: borrower, subsidy: {pct: 60, payer: county}}",
).replace(
    "insurance:\n",
    "insurance:\n  participation: {agreement_required: true, lines_divided_by: guarantee_volume}\n",
)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue(RICH)


class Desk:
    """Calls of PoliciesService, with a request id where one is needed."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self.db = db
        self.catalogue = catalogue
        self.servicer = PoliciesServicer(db, catalogue)
        self.claims = ClaimsServicer(db, catalogue)
        self.consumer = Consumer(db, "claims", handlers(catalogue), batch_size_max=500)

    async def ask(self, method: str, caller: Caller, **values: Any) -> Any:
        kind = getattr(policies_pb2, f"{method}Request")
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            values.setdefault("request_id", str(uuid4()))
        plain = {
            name: wire.date_to_proto(value) if isinstance(value, date) else value
            for name, value in values.items()
        }
        request = kind(county_code=COUNTY, **plain)
        return await getattr(self.servicer, method)(request, calling(caller, request))

    async def sign(self, insurer_id: str = INSURER, **values: Any) -> Any:
        usual = {
            "insurer_id": insurer_id,
            "programme_id": PROGRAMME,
            "bank_ids": [BANK, OTHER_BANK],
            "signed_on": OPENED,
            "from_date": OPENED,
            "until_date": YEAR_END,
            "document": "sha256:ag",
        }
        return (await self.ask("RecordAgreement", CENTRE, **(usual | values))).agreement

    async def policy(self, cover_id: str = "crop", **values: Any) -> str:
        """An agreement and a policy under it."""
        if not (await self.ask("ListAgreements", CENTRE)).agreements:
            await self.sign()
        return await issue(self.claims, a_policy(cover_id, **values))

    async def enrol(
        self, policy_id: str, lines: Sequence[policies_pb2.InsuredLine], *, dry_run: bool = False
    ) -> Any:
        return await self.ask(
            "EnrolInsured", ADJUSTER, policy_id=policy_id, items=lines, dry_run=dry_run
        )

    async def leave(self, policy_id: str, insured_id: str, on: date) -> Any:
        change = policies_pb2.Endorsement(
            insured_id=insured_id,
            kind=policies_pb2.ENDORSEMENT_KIND_LEAVE,
            effective_on=wire.date_to_proto(on),
            reason="moved away",
        )
        return await self.ask("EndorseInsured", ADJUSTER, policy_id=policy_id, items=[change])

    async def advance(self, to: date) -> None:
        """Close days until it is this day."""
        async with self.db.transaction(EVERY_COUNTY) as session:
            day = await business_day.today(session, COUNTY)
        books = reports.books(self.catalogue)
        assert books.close_day is not None
        while day < to:
            async with self.db.transaction(EVERY_COUNTY) as session:
                await books.close_day(session, COUNTY, day)
                day += timedelta(days=1)
                await business_day.open_day(session, COUNTY, day)

    async def house(self) -> House:
        made = House()
        await take(self.consumer, made.registered())
        return made


@pytest.fixture
def desk(db: Database, catalogue: Catalogue) -> Desk:
    return Desk(db, catalogue)


def a_line(house: House, cover_id: str = "crop", sum_fen: int = 1_000_000, **values: Any) -> Any:
    return policies_pb2.InsuredLine(
        household_id=str(house.household_id), cover_id=cover_id, sum_insured_fen=sum_fen, **values
    )


async def insured(db: Database) -> list[events_pb2.HouseholdInsured]:
    return await said(db, "household_insured", events_pb2.HouseholdInsured)


async def uninsured(db: Database) -> list[events_pb2.HouseholdUninsured]:
    return await said(db, "household_uninsured", events_pb2.HouseholdUninsured)


def reasons(answer: Any) -> list[str]:
    return [verdict.reason for verdict in answer.verdicts]


# --- agreements -----------------------------------------------------------------------------------


async def test_nothing_is_insured_without_a_signed_agreement_that_stands(desk: Desk) -> None:
    with pytest.raises(Refused, match="AGREEMENT_MISSING"):
        await issue(desk.claims, a_policy())

    agreement = await desk.sign()
    await issue(desk.claims, a_policy())
    with pytest.raises(Conflict, match="AGREEMENT_EXISTS"):
        await desk.sign(from_date=YEAR_END, until_date=date(2022, 6, 1))
    ended = await desk.ask(
        "EndAgreement",
        CENTRE,
        agreement_id=agreement.agreement_id,
        ended_from=OPENED,
        reason="withdrawn",
    )
    assert ended.agreement.end_reason == "withdrawn"
    with pytest.raises(Refused, match="AGREEMENT_MISSING"):
        await issue(desk.claims, a_policy("disaster"))
    with pytest.raises(Refused, match="AGREEMENT_ENDED"):
        await desk.ask(
            "EndAgreement",
            CENTRE,
            agreement_id=agreement.agreement_id,
            ended_from=OPENED,
            reason="again",
        )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"insurer_id": BANK}, "INSURER_UNKNOWN"),
        ({"bank_ids": [BANK, INSURER]}, "BANK_UNKNOWN"),
        ({"signed_on": date(2021, 2, 1)}, "SIGNED_AHEAD"),
        ({"signed_on": OPENED, "from_date": date(2021, 1, 1)}, "AGREEMENT_BEFORE_SIGNATURE"),
        ({"until_date": date(2020, 1, 1)}, "TERM_ENDS_BEFORE_IT_STARTS"),
    ],
)
async def test_an_agreement_needs_its_parties_and_its_days(
    desk: Desk, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LiandongError) as refusal:
        await desk.sign(**values)

    assert refusal.value.reason == reason


async def test_a_line_is_shared_out_by_the_volume_of_those_who_signed(desk: Desk) -> None:
    policy_id = await desk.policy("guarantee")
    house = await desk.house()
    loan = Loan(house, covers=("guarantee",))
    with pytest.raises(Refused, match="NO_GUARANTEE_VOLUME"):
        await share(desk)

    await take(desk.consumer, loan.approved())
    division = (await share(desk)).division

    assert [(s.insurer_id, s.volume_fen, s.share_fen) for s in division.shares] == [
        (INSURER, 5_000_000, 900_001)
    ]
    assert policy_id
    listed = (await desk.ask("ListLineShares", CENTRE)).divisions
    assert [each.division_id for each in listed] == [division.division_id]


async def share(desk: Desk) -> Any:
    return await desk.ask(
        "ShareLines",
        FINANCE,
        programme_id=PROGRAMME,
        cover_id="crop",
        premium_fen=900_001,
        from_date=OPENED,
        until_date=YEAR_END,
    )


# --- lists by file --------------------------------------------------------------------------------


async def test_lines_join_each_with_its_verdict_and_a_dry_run_writes_nothing(
    desk: Desk, db: Database
) -> None:
    policy_id = await desk.policy()
    house, far, stranger = await desk.house(), await desk.house(), House()
    lines = [
        a_line(house),
        a_line(house),
        a_line(house, member_id=str(uuid4())),
        a_line(stranger),
        a_line(far, "medical"),
        a_line(far, sum_fen=0),
        a_line(far, from_date=wire.date_to_proto(date(2020, 12, 31))),
        a_line(far, from_date=wire.date_to_proto(date(2022, 1, 1))),
        a_line(far, loan_id=str(uuid4())),
    ]
    expected = [
        "",
        "ALREADY_INSURED",
        "",
        "HOUSEHOLD_UNKNOWN",
        "COVER_NOT_IN_POLICY",
        "SUM_INSURED_MISSING",
        "JOIN_IN_THE_PAST",
        "JOIN_OUTSIDE_TERM",
        "LOAN_NOT_OF_HOUSEHOLD",
    ]

    tried = await desk.enrol(policy_id, lines, dry_run=True)
    assert await rows(db, "SELECT count(*) FROM insured") == [(0,)]
    done = await desk.enrol(policy_id, lines)

    assert reasons(tried) == reasons(done) == expected
    assert tried.premium_fen == done.premium_fen == 20_000
    assert reasons(await desk.enrol(policy_id, lines[:1])) == ["ALREADY_INSURED"]
    owed = (await desk.ask("ListPremiums", CENTRE)).balances
    assert {(b.payer, b.payer_id, b.owed_fen) for b in owed} == {
        ("borrower", str(house.household_id), 8_000),
        ("county", COUNTY, 12_000),
    }
    listed = (await desk.ask("ListInsured", ADJUSTER, policy_id=policy_id)).insured
    assert [entry.state for entry in listed] == ["in_force", "in_force"]
    joined = (await desk.ask("ListEndorsements", ADJUSTER, policy_id=policy_id)).endorsements
    assert [each.kind for each in joined] == ["joined", "joined"]
    await books_are_whole(db)


async def test_a_household_on_the_list_is_not_insured_again_for_its_loan(
    desk: Desk, db: Database
) -> None:
    policy_id = await desk.policy()
    first, second = await desk.house(), await desk.house()
    waits, later = Loan(first, covers=("crop",)), Loan(second, covers=("crop",))
    await take(desk.consumer, waits.approved())
    assert await insured(db) == []

    await desk.enrol(policy_id, [a_line(first), a_line(second)])
    await take(desk.consumer, later.approved())

    assert {e.loan_id for e in await insured(db)} == {str(waits.loan_id), str(later.loan_id)}
    assert await rows(db, "SELECT count(*) FROM insured") == [(2,)]
    assert await rows(db, "SELECT count(*) FROM awaited_cover") == [(0,)]
    await books_are_whole(db)


async def test_a_town_has_its_own_policy_beside_another_towns(desk: Desk) -> None:
    await desk.sign()
    town, other = f"{COUNTY}001", f"{COUNTY}002"
    of_town, of_other = a_policy("crop"), a_policy("crop")
    of_town.area_code, of_other.area_code = town, other
    policy_id = await issue(desk.claims, of_town)
    await issue(desk.claims, of_other)
    with pytest.raises(Conflict, match="POLICY_EXISTS"):
        await issue(desk.claims, a_policy("crop"))
    far = House(area_code=f"{COUNTY}002001")
    await take(desk.consumer, far.registered())

    answer = await desk.enrol(policy_id, [a_line(far)])

    assert reasons(answer) == ["OUTSIDE_POLICY_AREA"]


async def test_a_village_sees_the_policies_and_the_households_of_its_own_area(desk: Desk) -> None:
    await desk.sign()
    county_wide, of_town, of_other = a_policy("medical"), a_policy("crop"), a_policy("crop")
    of_town.area_code, of_other.area_code = VILLAGE[:9], OTHER_VILLAGE[:9]
    seen = [await issue(desk.claims, request) for request in (county_wide, of_town)]
    unseen = await issue(desk.claims, of_other)
    near, far = House(), House(area_code=OTHER_VILLAGE)
    await take(desk.consumer, near.registered(), far.registered())
    await desk.enrol(seen[0], [a_line(house, "medical", 0) for house in (near, far)])

    listed = (await desk.ask("ListMasterPolicies", VILLAGE_DEPARTMENT)).policies
    insured = await desk.ask("ListInsured", VILLAGE_DEPARTMENT, policy_id=seen[0])
    changed = await desk.ask("ListEndorsements", VILLAGE_DEPARTMENT, policy_id=seen[0])
    everybodys = await desk.ask("ListEndorsements", ADJUSTER, policy_id=seen[0])

    assert [policy.policy_id for policy in listed] == sorted(seen)
    assert [entry.household_id for entry in insured.insured] == [str(near.household_id)]
    assert [each.insured_id for each in changed.endorsements] == [insured.insured[0].insured_id]
    assert len(everybodys.endorsements) == 2
    for method in ("GetMasterPolicy", "ListInsured", "ListEndorsements"):
        for policy_id in (unseen, str(uuid4())):
            with pytest.raises(NotFound, match="POLICY_NOT_FOUND"):
                await desk.ask(method, VILLAGE_DEPARTMENT, policy_id=policy_id)


async def test_one_policy_stands_in_place_of_many_certificates(desk: Desk) -> None:
    await desk.sign()
    request = a_policy("crop")
    request.more_cover_ids.extend(["medical", "disaster"])
    policy_id = await issue(desk.claims, request)
    houses = [await desk.house() for _ in range(4)]
    lines = [
        a_line(house, cover_id, sum_fen)
        for house in houses
        for cover_id, sum_fen in (("crop", 100_000), ("medical", 0), ("disaster", 0))
    ]
    await desk.enrol(policy_id, lines)

    counts = await desk.ask("CountCertificates", CENTRE, programme_id=PROGRAMME)

    assert (counts.certificates_before, counts.policies_after, counts.households) == (12, 1, 4)
    fixed = await desk.enrol(policy_id, [a_line(await desk.house(), "medical", 5)])
    assert reasons(fixed) == ["SUM_INSURED_FIXED"]


# --- endorsements and the end of cover ------------------------------------------------------------


async def test_who_leaves_gets_the_unearned_premium_back_and_the_loan_hears_of_it(
    desk: Desk, db: Database
) -> None:
    policy_id = await desk.policy()
    house = await desk.house()
    loan = Loan(house, covers=("crop",))
    await take(desk.consumer, loan.approved())
    (verdict,) = (await desk.enrol(policy_id, [a_line(house)])).verdicts
    last = date(2021, 1, 6)

    left = await desk.leave(policy_id, verdict.id, last)
    # 362 days of cover, of which 359 are left after the third.
    assert left.premium_fen == -round(10_000 * 359 / 362)
    assert reasons(await desk.leave(policy_id, verdict.id, last)) == ["ENTRY_OVER"]
    assert await uninsured(db) == []
    await desk.advance(date(2021, 1, 7))

    (event,) = await uninsured(db)
    assert (event.loan_id, event.reason) == (str(loan.loan_id), "left")
    await books_are_whole(db)
    again = await desk.enrol(policy_id, [a_line(house)])
    assert reasons(again) == [""]


@pytest.mark.parametrize(("rule", "owed_fen"), [("whole", 10_000), ("by_days", 5_055)])
async def test_who_joins_within_the_term_pays_as_the_programme_says(
    db: Database, rule: str, owed_fen: int
) -> None:
    ruled = RICH.replace("insurance:\n", f"insurance:\n  premium_of_joiners: {rule}\n", 1)
    desk = Desk(db, a_catalogue(ruled))
    policy_id = await desk.policy()
    # 183 days of the policy's 362.
    line = a_line(await desk.house(), from_date=wire.date_to_proto(date(2021, 7, 2)))

    joined = await desk.enrol(policy_id, [line])
    (verdict,) = joined.verdicts
    left = await desk.leave(policy_id, verdict.id, date(2021, 9, 30))

    assert joined.premium_fen == owed_fen
    assert left.premium_fen == -round(owed_fen * 92 / 183)
    await books_are_whole(db)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": 1, "effective_on": date(2021, 1, 3)}, "ENDORSEMENT_IN_THE_PAST"),
        ({"kind": 1, "effective_on": date(2022, 1, 3)}, "ENDORSEMENT_OUTSIDE_TERM"),
        ({"kind": 2, "effective_on": OPENED, "sum_insured_fen": 0}, "SUM_INSURED_MISSING"),
        ({"kind": 2, "effective_on": date(2021, 1, 5), "sum_insured_fen": 5}, "ENDORSEMENT_AHEAD"),
        ({"insured_id": str(uuid4()), "kind": 1, "effective_on": OPENED}, "INSURED_UNKNOWN"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(
    desk: Desk, change: dict[str, Any], reason: str
) -> None:
    policy_id = await desk.policy()
    (verdict,) = (await desk.enrol(policy_id, [a_line(await desk.house())])).verdicts
    values = {"insured_id": verdict.id, "reason": "asked"} | change
    values["effective_on"] = wire.date_to_proto(values["effective_on"])

    answer = await desk.ask(
        "EndorseInsured",
        ADJUSTER,
        policy_id=policy_id,
        items=[policies_pb2.Endorsement(**values)],
    )

    assert reasons(answer) == [reason]


async def test_a_new_sum_is_charged_for_the_days_that_are_left_and_said(
    desk: Desk, db: Database
) -> None:
    policy_id = await desk.policy()
    house = await desk.house()
    loan = Loan(house, covers=("crop",))
    await take(desk.consumer, loan.approved())
    (verdict,) = (await desk.enrol(policy_id, [a_line(house)])).verdicts
    await desk.advance(date(2021, 7, 4))

    answer = await desk.ask(
        "EndorseInsured",
        ADJUSTER,
        policy_id=policy_id,
        items=[
            policies_pb2.Endorsement(
                insured_id=verdict.id,
                kind=policies_pb2.ENDORSEMENT_KIND_CHANGE_SUM,
                effective_on=wire.date_to_proto(date(2021, 7, 4)),
                sum_insured_fen=3_000_000,
                reason="more land",
            )
        ],
    )

    assert answer.premium_fen == 20_000 * 181 // 362
    assert [e.sum_insured_fen for e in await insured(db)] == [1_000_000, 3_000_000]
    await books_are_whole(db)


async def test_a_policy_that_ends_leaves_its_loans_waiting_for_the_next(
    desk: Desk, db: Database
) -> None:
    policy_id = await desk.policy("accident")
    loan = Loan(House())
    await take(desk.consumer, loan.house.registered(), loan.approved())

    ended = await desk.ask(
        "EndMasterPolicy", ADJUSTER, policy_id=policy_id, last_day=OPENED, reason="insolvent"
    )
    assert (ended.entries, ended.refund_fen) == (1, round(10_000 * 361 / 362))
    with pytest.raises(Refused, match="POLICY_ENDED"):
        await desk.enrol(policy_id, [a_line(loan.house, "accident", loan_id=str(loan.loan_id))])
    await desk.advance(date(2021, 1, 5))
    assert [e.reason for e in await uninsured(db)] == ["policy_ended"]
    await issue(desk.claims, a_policy(from_date=date(2021, 1, 5)))

    assert [e.loan_id for e in await insured(db)] == [str(loan.loan_id)] * 2
    assert await rows(db, "SELECT count(*) FROM assignment") == [(1,)]
    await books_are_whole(db)


async def test_a_renewed_list_goes_on_without_a_day_uninsured(desk: Desk, db: Database) -> None:
    policy_id = await desk.policy("accident", until_date=date(2021, 1, 6))
    loan, gone = Loan(House()), Loan(House())
    await take(desk.consumer, loan.approved(), gone.approved())
    await take(desk.consumer, gone.settled())

    new = (
        await desk.ask("RenewMasterPolicy", ADJUSTER, policy_id=policy_id, until_date=YEAR_END)
    ).policy
    carried = await desk.ask("CarryInsuredOver", ADJUSTER, policy_id=new.policy_id)
    again = await desk.ask("CarryInsuredOver", ADJUSTER, policy_id=new.policy_id)
    await desk.advance(date(2021, 1, 8))

    assert (carried.carried, carried.left, again.carried) == (1, 0, 0)
    assert [e.loan_id for e in await uninsured(db)] == [str(gone.loan_id)]
    assert len(await insured(db)) == 3
    assert new.renews_policy_id == policy_id
    with pytest.raises(Refused, match="POLICY_RENEWS_NONE"):
        await desk.ask("CarryInsuredOver", ADJUSTER, policy_id=policy_id)
    await books_are_whole(db)


# --- premium --------------------------------------------------------------------------------------


async def test_premium_is_quoted_with_who_pays_it(desk: Desk) -> None:
    quote = await desk.ask(
        "QuotePremium", ADJUSTER, programme_id=PROGRAMME, cover_id="crop", base_fen=1_000_000
    )
    products = (await desk.ask("ListProducts", LENDER, programme_id=PROGRAMME)).products

    assert quote.premium_fen == 10_000
    assert {(p.payer, p.amount_fen) for p in quote.payers} == {
        ("county", 6_000),
        ("borrower", 4_000),
    }
    assert [p.cover_id for p in products] == [
        "accident",
        "disaster",
        "medical",
        "guarantee",
        "crop",
        "undecided",
    ]
    with pytest.raises(Refused, match="PREMIUM_NOT_ON_LENDING"):
        await desk.ask("QuotePremium", ADJUSTER, programme_id=PROGRAMME, base_fen=1)


def a_payment(policy_id: str, payer_id: object, amount_fen: int, reference: str) -> Any:
    return policies_pb2.PremiumPayment(
        policy_id=policy_id,
        payer_id=str(payer_id),
        amount_fen=amount_fen,
        value_date=wire.date_to_proto(OPENED),
        reference=reference,
    )


async def test_what_is_owed_is_paid_once_and_never_more(desk: Desk, db: Database) -> None:
    policy_id = await desk.policy()
    house = await desk.house()
    (verdict,) = (await desk.enrol(policy_id, [a_line(house)])).verdicts
    payer = house.household_id
    items = [
        a_payment(policy_id, payer, 4_001, "a"),
        a_payment(policy_id, payer, 3_000, "b"),
        a_payment(policy_id, payer, 1_000, "b"),
        a_payment(policy_id, "nobody", 1, "c"),
        a_payment(str(uuid4()), payer, 1, "d"),
        a_payment(policy_id, payer, -1, "e"),
        a_payment(policy_id, payer, 1_000, "f"),
    ]

    answer = await desk.ask("RecordPremiumPayments", ADJUSTER, items=items)

    assert reasons(answer) == [
        "PAYMENT_ABOVE_PREMIUM",
        "",
        "PAYMENT_EXISTS",
        "NO_SUCH_RECEIVABLE",
        "POLICY_NOT_FOUND",
        "REFUND_ABOVE_OWED",
        "",
    ]
    await books_are_whole(db)
    await desk.leave(policy_id, verdict.id, OPENED)
    back = (await desk.ask("ListPremiums", CENTRE, open_only=True)).balances
    owed = {b.payer_id: b.owed_fen for b in back}
    assert owed[str(payer)] < 0
    refund = a_payment(policy_id, payer, owed[str(payer)], "g")
    assert reasons(await desk.ask("RecordPremiumPayments", ADJUSTER, items=[refund])) == [""]
    await books_are_whole(db)


async def test_where_premium_comes_first_nothing_is_in_force_until_it_is_paid(
    db: Database,
) -> None:
    pack = RICH.replace("insurance:\n", "insurance:\n  premium_due: before_cover\n", 1)
    desk = Desk(db, a_catalogue(pack))
    policy_id = await desk.policy("medical")
    house = await desk.house()
    loan = Loan(house, covers=("medical",))
    await take(desk.consumer, loan.approved())
    assert await insured(db) == []

    early = await report(desk.claims, a_report(house, cover_id="medical"))
    assert (early.state, early.reason_code) == (claims_pb2.CLAIM_STATE_REFUSED, "PREMIUM_UNPAID")
    paid = a_payment(policy_id, house.household_id, 2_000, "a")
    await desk.ask("RecordPremiumPayments", ADJUSTER, items=[paid])

    assert [e.loan_id for e in await insured(db)] == [str(loan.loan_id)]
    claim = await report(desk.claims, a_report(house, cover_id="medical"))
    assert claim.state == claims_pb2.CLAIM_STATE_REPORTED
    await books_are_whole(db)


ON_LENDING = RICH.replace(
    "insurance:\n",
    "insurance:\n  master_policy: {scope: township, premium:"
    " {rate_ppm: 80000, of: lending, payer: county, excludes: [medical]}}\n",
    1,
)


async def test_a_premium_on_lending_is_trued_up_to_what_was_really_lent(db: Database) -> None:
    desk = Desk(db, a_catalogue(ON_LENDING))
    await desk.sign()
    with pytest.raises(Refused, match="POLICY_SCOPE"):
        await issue(desk.claims, a_policy("accident"))
    request = a_policy("accident")
    request.area_code, request.expected_lending_fen = VILLAGE[:9], 10_000_000
    request.more_cover_ids.append("disaster")
    policy_id = await issue(desk.claims, request)
    loan = Loan(House(), principal_fen=5_000_000)
    await take(desk.consumer, loan.approved(), disbursed(loan, 4_000_000))

    trued = await desk.ask("TrueUpPremium", ADJUSTER, policy_id=policy_id)
    again = await desk.ask("TrueUpPremium", ADJUSTER, policy_id=policy_id)

    assert (trued.lending_fen, trued.premium_fen, trued.charged_fen) == (
        4_000_000,
        320_000,
        -480_000,
    )
    assert again.charged_fen == 0
    policy = (await desk.ask("GetMasterPolicy", ADJUSTER, policy_id=policy_id)).policy
    assert (policy.premium_fen, list(policy.cover_ids)) == (320_000, ["accident", "disaster"])
    medical = a_policy("medical")
    medical.area_code = COUNTY
    medical.area_code = VILLAGE[:9]
    other = await issue(desk.claims, medical)
    with pytest.raises(Refused, match="PREMIUM_NOT_ON_LENDING"):
        await desk.ask("TrueUpPremium", ADJUSTER, policy_id=other)
    await books_are_whole(db)


def disbursed(loan: Loan, amount_fen: int) -> Any:
    message = loans_pb2.LoanDisbursed(
        loan_id=str(loan.loan_id),
        household_id=str(loan.house.household_id),
        lender_id=loan.lender_id,
        principal_fen=amount_fen,
        disbursed_on=wire.date_to_proto(OPENED),
    )
    return told(
        "liandong.loans.v1.loan_disbursed",
        ("loans.loan", str(loan.loan_id)),
        2,
        message,
        programme=REF,
    )


# --- assignments ----------------------------------------------------------------------------------


def an_assignment(loan: Loan, cover_id: str = "accident", on: date = OPENED) -> Any:
    return policies_pb2.AssignmentRecord(
        loan_id=str(loan.loan_id),
        cover_id=cover_id,
        evidence="sha256:word",
        from_date=wire.date_to_proto(on),
    )


async def test_an_assignment_needs_the_lenders_own_open_loan_and_a_cover_that_can_be_assigned(
    desk: Desk,
) -> None:
    loan, closed, foreign = (
        Loan(House(), evidence=""),
        Loan(House(), evidence=""),
        Loan(House(), lender_id=OTHER_BANK, evidence=""),
    )
    unknown = Loan(House())
    await take(
        desk.consumer,
        *[each.approved() for each in (loan, closed, foreign)],
        closed.settled(),
    )

    answer = await desk.ask(
        "RecordAssignments",
        LENDER,
        items=[
            an_assignment(loan),
            an_assignment(loan),
            an_assignment(closed),
            an_assignment(foreign),
            an_assignment(unknown),
            an_assignment(loan, "medical"),
            an_assignment(loan, "nothing"),
            an_assignment(loan, "disaster", date(2021, 1, 3)),
        ],
    )

    assert reasons(answer) == [
        "",
        "ASSIGNMENT_EXISTS",
        "LOAN_CLOSED",
        "ASSIGNEE_WITHOUT_LOAN",
        "ASSIGNEE_WITHOUT_LOAN",
        "COVER_NOT_ASSIGNABLE",
        "COVER_UNKNOWN",
        "ASSIGNMENT_BEFORE_LOAN",
    ]
    mine = (await desk.ask("ListAssignments", LENDER)).assignments
    assert [each.loan_id for each in mine] == [str(loan.loan_id)]
    assert not (await desk.ask("ListAssignments", OTHER_LENDER)).assignments


async def payee_loans(desk: Desk, house: House) -> list[str]:
    """The loans that a payout of today goes to first."""
    claim = await report(desk.claims, a_report(house, loss_date=OPENED), caller=CENTRE)
    await decide(desk.claims, a_decision(claim))
    events = await said(desk.db, "payout_authorised", events_pb2.PayoutAuthorised)
    return [loan for group in events[-1].groups for loan in group.loan_ids]


async def test_once_revoked_the_household_is_paid_everything_and_the_history_stays(
    desk: Desk, db: Database
) -> None:
    await desk.policy("accident")
    loan = Loan(House(), evidence="")
    await take(desk.consumer, loan.house.registered(), loan.approved())
    (verdict,) = (await desk.ask("RecordAssignments", LENDER, items=[an_assignment(loan)])).verdicts
    certificate = await desk.ask(
        "GetCertificate", VILLAGE_DEPARTMENT, household_id=str(loan.house.household_id)
    )
    assert [list(line.payees_first) for line in certificate.lines] == [[BANK]]

    def revocation(on: date) -> Any:
        return policies_pb2.AssignmentRevocation(
            assignment_id=verdict.id,
            revoked_from=wire.date_to_proto(on),
            evidence="sha256:no",
        )

    past = await desk.ask(
        "RevokeAssignments", VILLAGE_DEPARTMENT, items=[revocation(date(2021, 1, 3))]
    )
    foreign = await desk.ask("RevokeAssignments", OTHER_LENDER, items=[revocation(OPENED)])
    twice = await desk.ask(
        "RevokeAssignments", VILLAGE_DEPARTMENT, items=[revocation(OPENED), revocation(OPENED)]
    )

    assert reasons(past) == ["REVOCATION_IN_THE_PAST"]
    assert reasons(foreign) == ["ASSIGNMENT_UNKNOWN"]
    assert reasons(twice) == ["", "ASSIGNMENT_REVOKED"]
    assert await payee_loans(desk, loan.house) == []
    assert await rows(db, "SELECT kind, evidence FROM assignment_change ORDER BY kind") == [
        ("recorded", "sha256:word"),
        ("revoked", "sha256:no"),
    ]


async def test_a_sweep_in_difficulty_waits_for_the_lenders_word(db: Database) -> None:
    pack = RICH.replace("sweep_trigger: always", "sweep_trigger: repayment_difficulty")
    desk = Desk(db, a_catalogue(pack))
    await desk.policy("accident")
    easy, hard = Loan(House()), Loan(House())
    await take(desk.consumer, easy.approved(), hard.approved())
    asked = {"loan_id": str(hard.loan_id), "cause": "accident", "evidence": "sha256:difficult"}

    with pytest.raises(Refused, match="ASSIGNEE_WITHOUT_LOAN"):
        await desk.ask("ConfirmDifficulty", OTHER_LENDER, from_date=OPENED, **asked)
    with pytest.raises(Invalid, match="DIFFICULTY_AHEAD"):
        await desk.ask("ConfirmDifficulty", LENDER, from_date=date(2021, 1, 5), **asked)
    made = (await desk.ask("ConfirmDifficulty", LENDER, from_date=OPENED, **asked)).difficulty
    with pytest.raises(Refused, match="DIFFICULTY_EXISTS"):
        await desk.ask("ConfirmDifficulty", LENDER, from_date=OPENED, **asked)

    assert await payee_loans(desk, easy.house) == []
    assert await payee_loans(desk, hard.house) == [str(hard.loan_id)]
    end = {"difficulty_id": made.difficulty_id, "ended_from": date(2021, 1, 5)}
    ended = (await desk.ask("EndDifficulty", LENDER, **end)).difficulty
    assert wire.date_from_proto("", ended.ended_from) == date(2021, 1, 5)
    with pytest.raises(Refused, match="DIFFICULTY_ENDED"):
        await desk.ask("EndDifficulty", LENDER, **end)


async def test_the_same_lines_asked_twice_join_once(desk: Desk, db: Database) -> None:
    policy_id = await desk.policy()
    request = {"request_id": str(uuid4()), "policy_id": policy_id}
    items = [a_line(await desk.house())]

    first = await desk.ask("EnrolInsured", ADJUSTER, items=items, **request)
    second = await desk.ask("EnrolInsured", ADJUSTER, items=items, **request)

    assert first == second
    assert await rows(db, "SELECT count(*) FROM insured") == [(1,)]
    with pytest.raises(LiandongError, match="POLICY_NOT_FOUND"):
        await desk.ask(
            "EnrolInsured",
            a_caller("insurer", institution_id=OTHER_INSURER),
            policy_id=policy_id,
            items=items,
        )
