"""Ask every product of a pack everything that its clauses decide."""

from contextlib import suppress
from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import facilities, limits, pledges, pricing, products
from services.programmes.calendars import Calendar
from services.programmes.schema.loans import BenchmarkRate, LoanProduct, LoanRules, OverdueNpl
from services.programmes.schema.pack import Pack
from services.programmes.schema.pledges import AdvancePledge
from services.programmes.schema.product_terms import Extension, Renewal
from services.programmes.schema.values import Open, known
from services.programmes.sla import sla_deadline

OPEN = Open(open="not stated")
CHINA = ZoneInfo("Asia/Shanghai")
ON = date(2018, 6, 1)
BENCHMARK = (
    BenchmarkRate(valid_from=date(2015, 10, 24), max_tenor_months=12, rate_ppm=43_500),
    BenchmarkRate(valid_from=date(2015, 10, 24), max_tenor_months=60, rate_ppm=47_500),
)
LPR = (
    BenchmarkRate(valid_from=date(2019, 8, 20), max_tenor_months=60, rate_ppm=42_500),
    BenchmarkRate(valid_from=date(2019, 8, 20), max_tenor_months=360, rate_ppm=48_500),
    BenchmarkRate(valid_from=date(2019, 11, 20), max_tenor_months=60, rate_ppm=41_500),
    BenchmarkRate(valid_from=date(2019, 11, 20), max_tenor_months=360, rate_ppm=48_000),
)
RULES = LoanRules(
    benchmark=BENCHMARK, lpr=LPR, npl=OverdueNpl(measure="overdue_days", more_than_days=90)
)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """A moment in China."""
    return datetime(year, month, day, hour, minute, tzinfo=CHINA)


def evaluate_security(product: LoanProduct) -> None:
    """What its collateral and pledges secure."""
    for pledge in product.security.pledges:
        with suppress(Refused):
            if isinstance(pledge, AdvancePledge):
                pledges.collateral_limit_of(pledge, 3, unit_value_fen=Fen(7))
            else:
                pledges.asset_deposit_of(pledge, 3, unit_price_fen=Fen(7))
    if product.security.cover is not None:
        more = product.security.cover.more_than_pct
        pledges.collateral_cover(Fen(1), collateral_value_fen=Fen(1), more_than_pct=more)
    if product.group is not None:
        products.group_check(product.group, 3)
    if product.pooled is not None:
        products.project_check(product.pooled, levels=[], grade=None, whitelisted=False)


def evaluate_products(pack: Pack) -> None:
    """Ask every product of a pack everything; an open value may refuse, nothing may crash."""
    rules = pack.loans or RULES
    for each in pack.loan_products:
        with suppress(Refused):
            pricing.quote(
                each, rules, principal_fen=10**6, term_months=12, on=ON, proposed_ppm=43_500
            )
        with suppress(Refused):
            products.amount_check_of(
                each, Fen(1), credit_limit_fen=Fen(1), outstanding_fen=Fen(0), persons=2
            )
        with suppress(Refused):
            products.term_check(each, 12, production_cycle_months=6)
        with suppress(Refused):
            limits.purpose_check_of(each.purpose, "mushroom_growing")
        with suppress(Refused):
            sla_deadline(known(each.sla or OPEN), Calendar(), at(2018, 6, 1))
        if isinstance(each.renewal, Renewal):
            with suppress(Refused):
                facilities.renewal_of(each.renewal, Fen(1), interest_unpaid_fen=Fen(0), facts={})
        if isinstance(each.extension, Extension):
            with suppress(Refused):
                facilities.extension_of(each.extension, ON, months=6, facts={})
        if each.revolving is not None:
            draw = facilities.Movement("draw", ON, Fen(1))
            with suppress(Refused):
                facilities.revolving_of(each.revolving, Fen(1), granted_on=ON, movements=[draw])
        evaluate_security(each)
        if each.fees is not None:
            with suppress(Refused):
                products.fee_check(known(each.fees), {"card": Fen(1)}, principal_fen=Fen(1))
        assert products.use_check(each.use, borrower="h", user="h", repayer="h").working
        assert products.availability_check(each, ON).working
        assert products.gates_of(each, {}).allowed == (not each.gates)
