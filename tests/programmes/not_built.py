"""The rules of golden cases that no clause decides yet."""

from collections.abc import Mapping

# The rest of the language comes with the other programmes; nothing is skipped in silence.
NOT_BUILT: Mapping[str, str] = {
    "monitoring.bulletin": "reports",
    "monitoring.compliance": "reports",
    "monitoring.count_check": "reports",
    "monitoring.npl_tolerance": "tolerance",
    "monitoring.overdue_report": "reports",
    "monitoring.ratio": "reports",
    "monitoring.recovery_rate": "suspension by collection rate",
}
