"""Groups: the sets of roles that rules and policies name; every role is a group of itself."""

from collections.abc import Mapping

from services.programmes.schema.deployment import InstitutionRole as Role

EVERYONE = frozenset(Role)
REGISTRARS = frozenset({Role.COUNTY_CENTRE, Role.POVERTY_OFFICE})
STATIONS = frozenset({Role.VILLAGE_DEPARTMENT, Role.TOWNSHIP_STATION})
COUNTY_ORGANS = REGISTRARS | STATIONS
LENDERS = frozenset({Role.BANK, Role.MUTUAL_AID_SOCIETY})
INSURERS = frozenset({Role.INSURER})
LOAN_GIVERS = LENDERS | INSURERS
"""Who may lend: an insurer lends its own money under some programmes, and keeps those loans."""
FUND_KEEPERS = frozenset({Role.COUNTY_CENTRE, Role.FINANCE_BUREAU})
OPERATORS = frozenset({Role.OPERATOR})
AUDITORS = frozenset({Role.AUDITOR})
APPLICANTS = STATIONS | LOAN_GIVERS | {Role.COUNTY_CENTRE}
"""They take applications in for borrowers."""
CHAIN_ORGANS = COUNTY_ORGANS | LENDERS | INSURERS | {Role.FINANCE_BUREAU, Role.GUARANTOR}
"""Every organ that a programme may give a step of the approval chain."""
LOAN_READERS = CHAIN_ORGANS | AUDITORS
REPORT_READERS = LOAN_READERS | {Role.REGULATOR}
"""They see sums; rows about single households loans shows to fewer."""
FUND_READERS = FUND_KEEPERS | LENDERS | INSURERS | AUDITORS | {Role.GUARANTOR, Role.POVERTY_OFFICE}
FINANCE = frozenset({Role.FINANCE_BUREAU})
"""Only they move a fund's money (S57)."""
FUND_OVERSEERS = FUND_KEEPERS | AUDITORS | OPERATORS | {Role.REGULATOR}
FUND_WATCHERS = FUND_KEEPERS | AUDITORS
"""They see how a whole fund stands, and who would have paid what."""
FEE_COLLECTORS = LOAN_GIVERS | STATIONS | {Role.COUNTY_CENTRE, Role.CREDIT_BUREAU}
"""They lend, or collect credit data, and may be paid for it (SC.fun.5, SC.fun.6)."""
CASE_REVIEWERS = FUND_KEEPERS | {Role.POVERTY_OFFICE}
CASE_APPROVERS = CASE_REVIEWERS | {Role.GUARANTOR, Role.INSURER}
"""Every organ that a programme may name for the approval of a compensation."""
CASE_COLLECTORS = LOAN_GIVERS | FUND_KEEPERS | {Role.GUARANTOR}
CREDIT_READERS = COUNTY_ORGANS | LENDERS | AUDITORS | {Role.FINANCE_BUREAU}
MODEL_USERS = frozenset({Role.BANK, Role.COUNTY_CENTRE})
CLAIM_READERS = COUNTY_ORGANS | LENDERS | INSURERS | AUDITORS
RECONCILERS = LENDERS | INSURERS | {Role.COUNTY_CENTRE}
"""They bring statements: their own, the county's centre anybody's."""
RECONCILIATION_READERS = RECONCILERS | AUDITORS | {Role.FINANCE_BUREAU}
LOAN_RECONCILERS = LOAN_GIVERS | REGISTRARS
"""They bring lists of loans: lenders their own, the poverty office the national system's."""
LOAN_RECORD_READERS = LOAN_RECONCILERS | AUDITORS | {Role.FINANCE_BUREAU}
PROJECT_READERS = COUNTY_ORGANS | LOAN_GIVERS | AUDITORS | {Role.FINANCE_BUREAU}
INSURANCE_REPORT_READERS = COUNTY_ORGANS | INSURERS | AUDITORS | {Role.FINANCE_BUREAU}

DEPARTMENTS = frozenset(
    {
        Role.COURT,
        Role.POLICE,
        Role.SOCIAL_INSURANCE,
        Role.MARKET_REGULATOR,
        Role.TAX_BUREAU,
        Role.AGRICULTURE_BUREAU,
        Role.CREDIT_BUREAU,
        Role.FORESTRY_BUREAU,
        Role.WEATHER_BUREAU,
    }
)
"""Those who supply facts in their own name."""
PARTIES = CHAIN_ORGANS | DEPARTMENTS
REGISTRY_READERS = PARTIES | AUDITORS
SUPPLIERS = COUNTY_ORGANS | LENDERS | DEPARTMENTS | {Role.INSURER, Role.FINANCE_BUREAU}
"""Whom a county may let supply an indicator; which one each may, credit knows."""
WARNERS = DEPARTMENTS | REGISTRARS
"""They see an industry or a disaster at risk; the county's centre passes on what others see."""
NOTICE_SENDERS = EVERYONE - AUDITORS - OPERATORS
"""A lender's sender, and whoever reads its own on the platform; a service knows whose are whose."""
PUBLISHERS = REGISTRARS | FINANCE
PAYERS = FINANCE | LENDERS | REGISTRARS | {Role.AGRICULTURE_BUREAU, Role.FORESTRY_BUREAU}
"""Every organ that a programme may name as the payer of a grant."""
PEOPLE = frozenset({Role.HOUSEHOLD})
"""A portal through which people look up their own."""
PUBLIC: frozenset[Role] = frozenset()
"""Anybody, without an identity, at the public door: no role needs it."""
RELENDERS = frozenset({Role.CENTRAL_BANK, Role.COUNTY_CENTRE})
"""The central bank's branch, or the county's centre for it."""
RELENDING_READERS = LENDERS | AUDITORS | RELENDERS | {Role.FINANCE_BUREAU, Role.REGULATOR}
ALL_BUT_AUDITORS = EVERYONE - AUDITORS
GOVERNMENT = COUNTY_ORGANS | AUDITORS | {Role.FINANCE_BUREAU}
"""They see what lies in their own areas (S47)."""

GROUPS: Mapping[str, frozenset[Role]] = {
    **{role.value: frozenset({role}) for role in Role},
    "everyone": EVERYONE,
    "registrars": REGISTRARS,
    "stations": STATIONS,
    "county_organs": COUNTY_ORGANS,
    "lenders": LENDERS,
    "insurers": INSURERS,
    "loan_givers": LOAN_GIVERS,
    "fund_keepers": FUND_KEEPERS,
    "operators": OPERATORS,
    "auditors": AUDITORS,
    "applicants": APPLICANTS,
    "chain_organs": CHAIN_ORGANS,
    "loan_readers": LOAN_READERS,
    "report_readers": REPORT_READERS,
    "fund_readers": FUND_READERS,
    "finance": FINANCE,
    "fund_overseers": FUND_OVERSEERS,
    "fund_watchers": FUND_WATCHERS,
    "fee_collectors": FEE_COLLECTORS,
    "case_reviewers": CASE_REVIEWERS,
    "case_approvers": CASE_APPROVERS,
    "case_collectors": CASE_COLLECTORS,
    "credit_readers": CREDIT_READERS,
    "model_users": MODEL_USERS,
    "claim_readers": CLAIM_READERS,
    "reconcilers": RECONCILERS,
    "reconciliation_readers": RECONCILIATION_READERS,
    "loan_reconcilers": LOAN_RECONCILERS,
    "loan_record_readers": LOAN_RECORD_READERS,
    "project_readers": PROJECT_READERS,
    "insurance_report_readers": INSURANCE_REPORT_READERS,
    "departments": DEPARTMENTS,
    "parties": PARTIES,
    "registry_readers": REGISTRY_READERS,
    "suppliers": SUPPLIERS,
    "warners": WARNERS,
    "notice_senders": NOTICE_SENDERS,
    "publishers": PUBLISHERS,
    "payers": PAYERS,
    "people": PEOPLE,
    "public": PUBLIC,
    "relenders": RELENDERS,
    "relending_readers": RELENDING_READERS,
    "all_but_auditors": ALL_BUT_AUDITORS,
    "government": GOVERNMENT,
}
"""A name to its roles."""


def groups_of(role: str) -> frozenset[str]:
    """Every group that a role is in; a person who looks up the own household is one of itself."""
    return _OF.get(role, frozenset({role}))


_OF: Mapping[str, frozenset[str]] = {
    role.value: frozenset(name for name, roles in GROUPS.items() if role in roles) for role in Role
}
