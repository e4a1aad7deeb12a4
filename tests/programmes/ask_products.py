"""What tests of products stand on: published rates, a day, moments in China."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.programmes.schema.loans import BenchmarkRate, LoanRules, OverdueNpl
from services.programmes.schema.values import Open

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
