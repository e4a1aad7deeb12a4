"""Which rules the running services can be asked about, and why the others cannot yet."""

from collections.abc import Mapping

from tests.live.paths import breakers, funds, gateway, insurance, loans, scoring, settlement
from tests.live.paths.path import Path

PATHS: Mapping[str, Path] = {
    **scoring.PATHS,
    **loans.PATHS,
    **breakers.PATHS,
    **insurance.PATHS,
    **settlement.PATHS,
    **funds.PATHS,
    **gateway.PATHS,
}

WITHOUT: Mapping[str, str] = {
    "chain.claim_to_compensation": "no RPC confirms that repayment is in difficulty (S04)",
    "insurance.master_policy": "certificates are not counted",
    "insurance.premium": "no RPC says a premium",
    "loans.age_check": "an application is not held against the borrower's age",
    "loans.asset_deposit": "no animals are deposited",
    "loans.collateral_cover": "no collateral is registered",
    "loans.collateral_limit": "no collateral is registered",
    "loans.collection_discount": "no campaign takes interest off",
    "loans.controlled_drawdown": "a loan is paid out in one sum",
    "loans.group_micro": "no group borrows",
    "loans.interest_subsidy": "no RPC says the interest of a whole term by months",
    "loans.maturity_notice": "the notice is an event, and no RPC shows it",
    "loans.rate_check": "nobody proposes a rate",
    "loans.renewal": "a loan is not renewed",
    "loans.revolving": "a limit is not drawn on and repaid",
    "loans.sanction_check": "nobody is sanctioned",
    "monitoring.bulletin": "no bulletin is written",
    "monitoring.compliance": "no loan is held against the compliance list",
    "monitoring.count_check": "no counts are kept",
    "monitoring.npl_suspension": "no breaker watches a whole programme",
    "monitoring.npl_tolerance": "a lender's other loans are not known",
    "monitoring.overdue_report": "no report of overdue loans is written",
    "monitoring.ratio": "no indicator is worked out",
    "monitoring.recovery_rate": "no breaker watches collections",
    "scoring.deduction_waiver": "the one programme with waivers weighs factors, not deductions",
    "scoring.gate": "a rating does not ask the gates",
    "settlement.reversal": "no RPC reverses a payout",
    "settlement.stale_snapshot": "a payout is divided on the debt of its own moment",
}
"""Rule → what is missing for a path."""

KNOWN_FAULTS: Mapping[str, str] = {
    "G-057": "loans takes a partly subsidised rate for no subsidy at all",
    "G-152": "credit shows any household's file to every lender of the county",
}
"""Case → the fault it meets; it is counted as failed, and a pass says that this line may go."""
