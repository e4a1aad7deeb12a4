"""Loans: what the use cases share: outcomes, the next event of a loan, breakers of an area."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel.errors import LiandongError, Refused
from services.kernel.values import replace
from services.loans import store
from services.loans.model import Breaker, Loan
from services.loans.rules import balance
from services.loans.rules.keeping import Keeper
from services.loans.rules.lending import Actor, loan_not_found
from services.loans.rules.scopes import Scope, scopes_of_loan
from services.loans.rules.suspending import watched
from services.loans.store import keeping
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms

Outcome = Loan | LiandongError
"""What became of one item: the loan, or why it was refused."""


def said(loan: Loan) -> Loan:
    """The loan with one more event said of it."""
    return replace(loan, version=loan.version + 1)


def breakers_of(scopes: Iterable[Scope], breakers: Mapping[Scope, Breaker]) -> list[Breaker]:
    """The breakers that may stop lending in any of some scopes."""
    return [breakers[scope] for scope in scopes if scope in breakers]


async def share_breakers(
    session: AsyncSession,
    county_code: str,
    scopes: Iterable[Scope],
    catalogue: Catalogue,
    today: date,
) -> dict[Scope, Breaker]:
    """
    Hold the breakers of scopes against a trip.

    A kind of scope that no programme in force watches is looked up only: nothing trips it, and no
    two loans wait for each other there.
    """
    wanted = sorted(set(scopes))
    programmes = [
        catalogue.terms(county_code, each.programme)
        for each in catalogue.adoptions(county_code, today)
    ]
    return await store.share_breakers(session, county_code, wanted, watched(programmes))


async def share_breakers_of(
    session: AsyncSession,
    county_code: str,
    loans: Iterable[Loan],
    catalogue: Catalogue,
    today: date,
) -> dict[Scope, Breaker]:
    """Hold the breakers of every scope that loans are in."""
    scopes = [scope for loan in loans for scope in scopes_of_loan(loan)]
    return await share_breakers(session, county_code, scopes, catalogue, today)


async def require_our_book(
    session: AsyncSession, county_code: str, actor: Actor, today: date
) -> None:
    """Refuse money commands of a lender whose core system is the book: it posts its entries."""
    if await keeping.keeper(session, county_code, actor.institution_id, today) is Keeper.LIANDONG:
        return
    raise Refused(
        "BOOK_KEPT_ELSEWHERE",
        f"the book of {actor.institution_id} is kept by its core system: post its entries",
        message_zh="该机构账簿由其核心系统记账",
    )


async def require_open_period(session: AsyncSession, county_code: str, value_date: date) -> None:
    """Refuse a day whose books are closed."""
    closed = await store.closed_through(session, county_code)
    balance.check_value_date(value_date, value_date, today=value_date, closed_through=closed)


def terms_by_ref(catalogue: Catalogue, county_code: str) -> Callable[[str], Terms]:
    """Terms by ref, each looked up once for a batch."""
    found: dict[str, Terms] = {}

    def look_up(ref: str) -> Terms:
        if ref not in found:
            found[ref] = catalogue.terms(county_code, ref)
        return found[ref]

    return look_up


def found(loans: Mapping[UUID, Loan], loan_id: UUID) -> Loan:
    """A loan of those that were locked, or a refusal."""
    loan = loans.get(loan_id)
    if loan is None:
        raise loan_not_found(loan_id)
    return loan
