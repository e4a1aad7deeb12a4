"""The rules of golden cases that no clause decides yet."""

from collections.abc import Mapping

# The rest of the language comes with the other programmes; nothing is skipped in silence.
NOT_BUILT: Mapping[str, str] = {
    "funds.fee_subsidy": "payments to lenders",
    "funds.top_up_rule": "minimum balance and yearly top-up",
    "insurance.master_policy": "certificates packed into one policy",
    "insurance.price_index": "index covers",
    "insurance.stabilisation": "insurers' pools",
    "loans.asset_deposit": "living assets",
    "loans.collateral_cover": "collateral",
    "loans.collateral_limit": "living assets",
    "loans.group_micro": "group lending",
    "loans.renewal": "renewal",
    "loans.revolving": "revolving facilities",
    "loans.sanction_check": "sanctions on relations",
    "monitoring.bulletin": "reports",
    "monitoring.compliance": "reports",
    "monitoring.count_check": "reports",
    "monitoring.npl_tolerance": "tolerance",
    "monitoring.overdue_report": "reports",
    "monitoring.ratio": "reports",
    "monitoring.recovery_rate": "suspension by collection rate",
}
