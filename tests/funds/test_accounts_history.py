"""
Random histories of funds through the service, on a real PostgreSQL, a county per example.

At every step: all that was ever contributed and recovered, less all that was ever paid, is what the
funds hold; sub-accounts add up to it; the journal says the same of each of them.
"""

import asyncio
import itertools
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.errors import LiandongError
from tests.conftest import MakeSchema
from tests.funds.accounts_county import (
    BANKS,
    COUNTIES,
    FIRST_COUNTY,
    INSURER,
    PROGRAMME,
    County,
    a_catalogue,
)
from tests.funds.county import Loan

pytestmark = pytest.mark.postgres

EXAMPLES = int(os.environ.get("LIANDONG_FUNDS_EXAMPLES", "8"))
STEP_SECONDS_MAX = 300.0
KINDS = (
    ("county_fund", ""),
    ("village_mutual_fund", "{village}"),
    ("defaulter_margin", "entity-1"),
    ("enterprise_mutual_fund", ""),
    ("insurer_stabilisation", INSURER),
)
STEPS = (
    "contribute",
    "contribute",
    "lend",
    "lend",
    "lose",
    "lose",
    "recover",
    "divide",
    "transfer",
    "withdraw",
    "stabilise",
    "close",
    "take over",
    "fee",
)

Step = tuple[str, int, int]


@dataclass
class History:
    """One county, and what a step may choose from."""

    county: County
    funds: list[str] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    lost: list[Loan] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        await self.county.open()
        for kind, scope in KINDS[:-1]:
            scope_id = scope.format(village=self.county.village)
            self.funds.append(await self.county.fund(kind, scope_id=scope_id))
        await self.county.pay_in(self.funds[0], 3_000)

    async def do(self, step: Step) -> None:
        """One step; a refusal is an answer like any other."""
        name, choice, fen = step
        try:
            await getattr(self, name.replace(" ", "_"))(choice, fen)
        except LiandongError as error:
            self.refused.append(error.reason)

    def fund(self, choice: int) -> str:
        return self.funds[choice % len(self.funds)]

    async def contribute(self, choice: int, fen: int) -> None:
        bank = ("", *BANKS)[choice % 4] if choice % len(self.funds) == 0 else ""
        await self.county.pay_in(self.fund(choice), fen, custodian_id=bank)

    async def lend(self, choice: int, fen: int) -> None:
        borrower = ("poor_household", "entity")[choice % 2]
        lender = BANKS[choice % 3]
        self.loans.append(
            await self.county.lend(fen, lender=lender, household="entity-1", borrower=borrower)
        )

    async def lose(self, choice: int, _fen: int) -> None:
        if self.loans:
            loan = self.loans.pop(choice % len(self.loans))
            await self.county.lose(loan)
            self.lost.append(loan)

    async def recover(self, choice: int, fen: int) -> None:
        if self.lost:
            await self.county.recover(self.lost[choice % len(self.lost)], fen)

    async def divide(self, _choice: int, _fen: int) -> None:
        await self.county.divide(self.funds[0])

    async def transfer(self, choice: int, fen: int) -> None:
        places = ("", *BANKS)
        line = {
            "from_custodian_id": places[choice % 4],
            "to_custodian_id": places[(choice + 1 + choice // 4 % 3) % 4],
            "amount_fen": fen,
        }
        asked = await self.county.ask(
            "ProposeTransfer",
            fund_id=self.funds[0],
            lines=[line],
            value_date=self.county.today,
        )
        await self.county.decide(asked.order, approve=choice % 5 > 0)

    async def withdraw(self, choice: int, fen: int) -> None:
        asked = await self.county.ask(
            "ProposeWithdrawal",
            fund_id=self.fund(choice),
            source="county_budget",
            amount_fen=fen,
            value_date=self.county.today,
        )
        await self.county.decide(asked.order)

    async def stabilise(self, choice: int, fen: int) -> None:
        line_id = await self.county.line_result(choice, fen)
        asked = await self.county.ask(
            "ProposeStabilisation",
            fund_id=self.fund(-1 - choice % 2),
            line_id=line_id,
            value_date=self.county.today,
        )
        await self.county.decide(asked.order)

    async def close(self, choice: int, _fen: int) -> None:
        asked = await self.county.ask("ProposeClosing", fund_id=self.fund(choice))
        await self.county.decide(asked.order)

    async def take_over(self, choice: int, fen: int) -> None:
        item = {
            "programme_id": PROGRAMME,
            "kind": KINDS[-1][0],
            "scope_id": f"{INSURER}{'' if choice % 3 else choice}",
            "sources": [{"source": "county_budget", "amount_fen": fen}],
        }
        asked = await self.county.ask(
            "ProposeOpening",
            opening_on=self.county.today,
            items=[item],
            control_count=1,
            control_fen=fen,
        )
        if asked.proposed:
            await self.county.decide(asked.order)
            register = (await self.county.ask("ListFundRegister", page_size=500)).funds
            self.funds += [f.fund_id for f in register if f.fund_id not in self.funds]

    async def fee(self, choice: int, _fen: int) -> None:
        today = self.county.today
        claim = await self.county.ask(
            "FileFeeClaim",
            self.county.caller("bank", of=BANKS[choice % 3]),
            programme_id=PROGRAMME,
            kind=1,
            from_date=today,
            until_date=today,
        )
        claim_id = claim.claim.claim_id
        await self.county.ask("DecideFeeClaim", claim_id=claim_id, approve=True)
        if choice % 2:
            await self.county.ask(
                "PayFeeClaim", self.county.second, claim_id=claim_id, value_date=today
            )

    async def check(self) -> None:
        """The books hold."""
        totals = await self.county.totals()
        assert totals["funds.book_difference_fen"] == 0, totals
        assert totals["funds.accounts_difference_fen"] == 0, totals
        assert totals["funds.balance_fen"] == (
            totals["funds.contributed_fen"]
            + totals["funds.recovered_to_funds_fen"]
            - totals["funds.paid_fen"]
            - totals["funds.withdrawn_fen"]
            - totals["funds.stabilised_fen"]
        ), totals
        for fund in (await self.county.ask("ListFundRegister", page_size=500)).funds:
            held = await self.county.ask("GetFundBalance", fund_id=fund.fund_id)
            assert held.balance_fen == fund.balance_fen
            assert sum(each.balance_fen for each in fund.accounts) <= fund.balance_fen
            by_bank = {each.custodian_id: each.balance_fen for each in held.accounts}
            for each in fund.accounts:
                assert by_bank.get(each.custodian_id, 0) == each.balance_fen


async def test_all_that_came_less_all_that_went_is_what_the_funds_hold(schema: MakeSchema) -> None:
    db = (await schema("funds", pool_size=4)).db
    catalogue = a_catalogue()
    codes = itertools.cycle(str(FIRST_COUNTY + index) for index in range(COUNTIES))
    loop = asyncio.get_running_loop()
    lived: set[str] = set()
    done: list[str] = []

    async def live(code: str, steps: list[Step]) -> None:
        history = History(County(db, catalogue, code=code))
        if code in lived:
            return
        lived.add(code)
        await history.begin()
        for step in steps:
            await history.do(step)
            await history.check()
        done.extend(step[0] for step in steps)

    def run(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(STEP_SECONDS_MAX)

    @settings(
        max_examples=min(EXAMPLES, COUNTIES),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.tuples(st.sampled_from(STEPS), st.integers(0, 60), st.integers(1, 9_000)),
            min_size=12,
            max_size=30,
        )
    )
    def histories(steps: list[Step]) -> None:
        run(live(next(codes), steps))

    await asyncio.to_thread(histories)
    assert len(done) > 50
