"""Claims: the report of the county's insurance, for those who may see what."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.rules import insurance_report as rules
from services.claims.rules.insurance_report import Key, Result, Row
from services.claims.store import insurance_report as store
from services.claims.store.insurance_report import Part, Question
from services.kernel.caller import Caller
from services.kernel.errors import Denied
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.pools import InsurerStabilisation


async def report(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    asked: Question,
    *,
    after: Key | None,
    limit: int,
) -> list[Row]:
    """A page of the report; an insurer sees its own, an office its areas."""
    question = _seen_by(caller, asked)
    found = await store.report(session, question, after=after, limit=limit)
    pools: dict[str, InsurerStabilisation | None] = {}
    for _, _, parts in found:
        for part in parts:
            if part.programme not in pools:
                pools[part.programme] = _pool(catalogue, asked.county_code, part.programme)
    return [rules.row_of(key, sums, _results(parts, pools)) for key, sums, parts in found]


def _pool(catalogue: Catalogue, county_code: str, programme: str) -> InsurerStabilisation | None:
    # A report that no policy covers is refused under no programme.
    fund = catalogue.terms(county_code, programme).pack.fund if programme else None
    return fund.insurer_stabilisation if fund else None


def _results(parts: Sequence[Part], pools: dict[str, InsurerStabilisation | None]) -> list[Result]:
    return [
        Result(part.programme, part.premium_fen, part.payable_fen, pools[part.programme])
        for part in parts
    ]


def _seen_by(caller: Caller, asked: Question) -> Question:
    if asked.within:
        caller.require_area(asked.within)
    if caller.role != InstitutionRole.INSURER:
        return replace(asked, areas=caller.areas)
    if asked.insurer_id not in ("", caller.institution_id):
        raise Denied(
            "INSURER_NOT_YOU",
            f"{caller.institution_id} cannot see what {asked.insurer_id} insures",
            message_zh="不得查看其他保险机构的数据",
        )
    # Its own policies wherever they are: an insurer's areas say where it may act, not what is its.
    return replace(asked, insurer_id=caller.institution_id, areas=())
