"""Walls: which rows a transaction may touch; row-level security stands behind every other check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.caller import Caller

ABOVE_COUNTIES = "000000"
"""The county code of an institution that stands above counties."""

_EVERY = "*"
_PLAIN = re.compile(r"[A-Za-z0-9._*-]{0,64}")

LENDERS = frozenset({"bank", "mutual_aid_society"})
INSURERS = frozenset({"insurer"})

_FUND = "a fund's room is what all its lenders owe together"
_PROJECT = "a project's figures are those of all its loans"

ACROSS: Mapping[str, str] = {
    "/liandong.credit.v1.CreditService/GetLimit": "a limit's room is what all lenders left of it",
    "/liandong.credit.v1.CreditService/GetCreditReport": "it tells the household's total exposure",
    "/liandong.credit.v1.CreditService/GetCoverage": "it counts the households that any lender has",
    "/liandong.loans.v1.LoansService/GetSubsidyBudget": "a budget is what all lenders took of it",
    "/liandong.loans.v1.NoticesService/GetPublication": "what is published is everyone's to read",
    "/liandong.loans.v1.ProjectsService/GetLoanProject": _PROJECT,
    "/liandong.loans.v1.ProjectsService/ListLoanProjects": _PROJECT,
    "/liandong.loans.v1.ProjectsService/GetProjectTotals": _PROJECT,
    "/liandong.claims.v1.PoliciesService/ListLineShares": "a line is divided among insurers",
    "/liandong.funds.v1.FundAccountsService/GetArrival": _FUND,
    "/liandong.funds.v1.FundAccountsService/GetTopUp": _FUND,
    "/liandong.funds.v1.FundAccountsService/GetVillageFund": _FUND,
    "/liandong.funds.v1.FundAccountsService/GetMutualPool": _FUND,
    "/liandong.funds.v1.FundAccountsService/ListFacilities": _FUND,
    "/liandong.funds.v1.WatchService/GetFundWatch": _FUND,
    "/liandong.funds.v1.WatchService/RunWhatIf": _FUND,
}
"""
Reads that sum over what other lenders or insurers have, and why each may.

Every other read of a lender or an insurer finds only its own rows. The county's wall stands always.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a transaction may touch; the server knows it for this transaction only."""

    county_code: str = ""
    """A county, `*` for every one; empty for none, and then no row behind a wall is there."""
    lender_id: str = ""
    """Only what this lender lends is seen; empty for whoever is no lender, or commands."""
    insurer_id: str = ""
    """Only what this insurer insures is seen; empty likewise."""

    def __post_init__(self) -> None:
        for value in (self.county_code, self.lender_id, self.insurer_id):
            if not _PLAIN.fullmatch(value):
                raise ValueError("a scope is told in plain letters")

    def begin(self, *, snapshot: bool = False) -> str:
        """
        Begin a transaction with this scope: one message to the server, as without one.

        A message of several statements carries no parameters, hence the letters it is held to.
        """
        told = (
            ("county", self.county_code),
            ("lender", self.lender_id),
            ("insurer", self.insurer_id),
        )
        level = " ISOLATION LEVEL REPEATABLE READ" if snapshot else ""
        sets = [f"SET LOCAL liandong.{name} = '{value}'" for name, value in told if value]
        return "; ".join([f"BEGIN{level}", *sets])


NOBODY = Scope()
"""Nothing behind a wall is there: what a transaction gets that says nothing."""

EVERY_COUNTY = Scope(county_code=_EVERY)
"""Events, jobs, day closes and migrations: the service itself, for every county."""

SESSION: Mapping[str, str] = {
    "liandong.county": "",
    "liandong.lender": "",
    "liandong.insurer": "",
}
"""What a service's connection starts with: nobody."""

EVERY_COUNTY_ALWAYS = f"SET liandong.county = '{_EVERY}'"
"""For a connection that serves the process itself, such as the relay's, as long as it lives."""


def of_command(caller: Caller) -> Scope:
    """
    What a command may touch: the caller's county.

    Not only what is the institution's own: what one lender may lend turns on what others have lent.
    """
    above = caller.county_code == ABOVE_COUNTIES
    return Scope(county_code=_EVERY if above else caller.county_code)


def of_read(caller: Caller) -> Scope:
    """What a read may touch: the caller's county, and there what is the institution's own."""
    county = of_command(caller).county_code
    if caller.method in ACROSS:
        return Scope(county_code=county)
    return Scope(
        county_code=county,
        lender_id=caller.institution_id if caller.role in LENDERS else "",
        insurer_id=caller.institution_id if caller.role in INSURERS else "",
    )
