"""Which rules the running services can be asked about, and why the others cannot yet."""

from collections.abc import Mapping

from tests.live.paths import (
    applying,
    breakers,
    funds,
    gateway,
    insurance,
    lending,
    loans,
    scoring,
    settlement,
)
from tests.live.paths.path import Path

PATHS: Mapping[str, Path] = {
    **scoring.PATHS,
    **loans.PATHS,
    **applying.PATHS,
    **lending.PATHS,
    **breakers.PATHS,
    **insurance.PATHS,
    **settlement.PATHS,
    **funds.PATHS,
    **gateway.PATHS,
}

WITHOUT: Mapping[str, str] = {
    "chain.claim_to_compensation": "no RPC confirms that repayment is in difficulty (S04)",
    "funds.allocate": "a fund is not divided among banks",
    "funds.fee_subsidy": "no fee is paid to lenders",
    "funds.insurer_pool": "no pool of the insurers is kept",
    "funds.pool_mix": "no enterprise pool is kept",
    "funds.recovery": "no RPC records a recovery with its costs",
    "funds.top_up_rule": "no yearly addition to a fund is worked out",
    "funds.village_fund": "a village fund is not held against the village's loans",
    "insurance.master_policy": "certificates are not counted",
    "insurance.premium": "no RPC says a premium",
    "monitoring.bulletin": "no bulletin is written",
    "monitoring.compliance": "no loan is held against the compliance list",
    "monitoring.count_check": "no counts are kept",
    "monitoring.npl_suspension": "no breaker watches a whole programme",
    "monitoring.npl_tolerance": "a lender's other loans are not known",
    "monitoring.overdue_report": "no report of overdue loans is written",
    "monitoring.ratio": "no indicator is worked out",
    "monitoring.recovery_rate": "no breaker watches collections",
    "scoring.deduction_waiver": "its one programme weighs factors: people deduct within a score",
}
"""Rule → what is missing for a path."""

KNOWN_FAULTS: Mapping[str, str] = {
    "G-152": "credit shows any household's file to every lender of the county",
}
"""Case → the fault it meets; it is counted as failed, and a pass says that this line may go."""
