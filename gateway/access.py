"""
Access: which role may call which method. Pure, and denied unless a row says otherwise.

The first wall only: areas, ownership and contracts are verified in the services, which know them.
"""

from services.kernel.errors import Denied
from services.programmes.schema.deployment import InstitutionRole as Role

EVERYONE = frozenset(Role)
REGISTRARS = frozenset({Role.COUNTY_CENTRE, Role.POVERTY_OFFICE})
STATIONS = frozenset({Role.VILLAGE_DEPARTMENT, Role.TOWNSHIP_STATION})
COUNTY = REGISTRARS | STATIONS
LENDERS = frozenset({Role.BANK, Role.MUTUAL_AID_SOCIETY})
INSURERS = frozenset({Role.INSURER})
FUND_KEEPERS = frozenset({Role.COUNTY_CENTRE, Role.FINANCE_BUREAU})
OPERATORS = frozenset({Role.OPERATOR})
AUDITORS = frozenset({Role.AUDITOR})
GRANTORS = COUNTY | LENDERS | INSURERS | {Role.FINANCE_BUREAU, Role.GUARANTOR}
"""Every organ that a programme may give a step of the approval chain."""
LOAN_READERS = GRANTORS | AUDITORS
FUND_READERS = FUND_KEEPERS | LENDERS | INSURERS | AUDITORS | {Role.GUARANTOR, Role.POVERTY_OFFICE}
CLAIM_READERS = COUNTY | LENDERS | INSURERS | AUDITORS

DEPARTMENTS = frozenset(
    {
        Role.COURT,
        Role.POLICE,
        Role.SOCIAL_INSURANCE,
        Role.MARKET_REGULATOR,
        Role.TAX_BUREAU,
        Role.AGRICULTURE_BUREAU,
        Role.CREDIT_BUREAU,
    }
)
"""Those who supply facts in their own name."""
PARTIES = GRANTORS | DEPARTMENTS
REGISTRY_READERS = PARTIES | AUDITORS

TABLE: dict[str, frozenset[Role]] = {
    # Households.
    "liandong.households.v1.HouseholdsService/RegisterAreas": REGISTRARS,
    "liandong.households.v1.HouseholdsService/ListAreas": EVERYONE,
    "liandong.households.v1.HouseholdsService/RegisterHousehold": COUNTY,
    "liandong.households.v1.HouseholdsService/ImportHouseholds": REGISTRARS,
    "liandong.households.v1.HouseholdsService/ExportHouseholds": REGISTRARS,
    "liandong.households.v1.HouseholdsService/GetHousehold": LOAN_READERS,
    "liandong.households.v1.HouseholdsService/ListHouseholds": LOAN_READERS,
    "liandong.households.v1.AreasService/SetAreaFlag": REGISTRARS,
    "liandong.households.v1.AreasService/SetVillageService": REGISTRARS,
    "liandong.households.v1.AreasService/GetArea": EVERYONE,
    "liandong.households.v1.StandingService/ChangeStatus": frozenset({Role.POVERTY_OFFICE}),
    "liandong.households.v1.StandingService/ListStatusHistory": LOAN_READERS,
    "liandong.households.v1.StandingService/StateDelistedLoans": LENDERS,
    "liandong.households.v1.StandingService/SignReconciliation": frozenset({Role.POVERTY_OFFICE}),
    "liandong.households.v1.StandingService/ListReconciliations": COUNTY | LENDERS | AUDITORS,
    "liandong.households.v1.PeopleService/AddMember": COUNTY,
    "liandong.households.v1.PeopleService/RemoveMember": COUNTY,
    "liandong.households.v1.PeopleService/ChangeHead": COUNTY,
    "liandong.households.v1.PeopleService/SplitHousehold": COUNTY,
    "liandong.households.v1.PeopleService/CorrectIdentity": COUNTY,
    "liandong.households.v1.PeopleService/ListDuplicates": REGISTRARS,
    "liandong.households.v1.PeopleService/DismissDuplicate": REGISTRARS,
    "liandong.households.v1.PeopleService/MergePersons": REGISTRARS,
    "liandong.households.v1.PeopleService/MergeHouseholds": REGISTRARS,
    "liandong.households.v1.PeopleService/UndoMerge": REGISTRARS,
    "liandong.households.v1.PeopleService/ResolvePersons": PARTIES,
    "liandong.households.v1.PeopleService/DisclosePersons": PARTIES,
    "liandong.households.v1.FactsService/BatchRecordFacts": COUNTY | LENDERS | DEPARTMENTS,
    "liandong.households.v1.FactsService/CorrectFact": COUNTY | LENDERS | DEPARTMENTS,
    "liandong.households.v1.FactsService/ListFacts": REGISTRY_READERS,
    "liandong.households.v1.FactsService/OpenDispute": PARTIES,
    "liandong.households.v1.FactsService/AnswerDispute": PARTIES,
    "liandong.households.v1.FactsService/ListDisputes": REGISTRY_READERS,
    "liandong.households.v1.ConsentsService/GiveConsent": COUNTY,
    "liandong.households.v1.ConsentsService/WithdrawConsent": COUNTY,
    "liandong.households.v1.ConsentsService/ListConsents": REGISTRY_READERS,
    "liandong.households.v1.AccountsService/RegisterPayeeAccount": COUNTY,
    "liandong.households.v1.AccountsService/DecidePayeeAccount": COUNTY,
    "liandong.households.v1.AccountsService/ListPayeeAccounts": LOAN_READERS,
    "liandong.households.v1.LinkageService/RegisterEnterprise": REGISTRARS,
    "liandong.households.v1.LinkageService/ListEnterprises": EVERYONE,
    "liandong.households.v1.LinkageService/SignLinkageContract": COUNTY,
    "liandong.households.v1.LinkageService/EndLinkageContract": COUNTY,
    "liandong.households.v1.LinkageService/ListLinkageContracts": LOAN_READERS,
    "liandong.households.v1.LinkageService/RegisterSociety": COUNTY,
    "liandong.households.v1.LinkageService/ListSocieties": EVERYONE,
    "liandong.households.v1.LinkageService/ChangeSocietyMembers": COUNTY,
    "liandong.households.v1.LinkageService/ListSocietyMembers": LOAN_READERS,
    "liandong.households.v1.LinkageService/RegisterProject": REGISTRARS,
    "liandong.households.v1.LinkageService/ListProjects": EVERYONE,
    # Credit.
    "liandong.credit.v1.CreditService/BatchRecordIndicators": COUNTY,
    "liandong.credit.v1.CreditService/RateHouseholds": REGISTRARS,
    "liandong.credit.v1.CreditService/GetCreditFile": COUNTY | LENDERS | AUDITORS,
    "liandong.credit.v1.CreditService/ListCreditFiles": COUNTY | LENDERS | AUDITORS,
    # Loans.
    "liandong.loans.v1.LoansService/ApplyForLoan": STATIONS | LENDERS | {Role.COUNTY_CENTRE},
    "liandong.loans.v1.LoansService/BatchApplyForLoans": STATIONS | LENDERS | {Role.COUNTY_CENTRE},
    "liandong.loans.v1.LoansService/DecideApplication": GRANTORS,
    "liandong.loans.v1.LoansService/BatchDecideApplications": GRANTORS,
    "liandong.loans.v1.LoansService/DisburseLoan": LENDERS,
    "liandong.loans.v1.LoansService/BatchDisburseLoans": LENDERS,
    "liandong.loans.v1.LoansService/RepayLoan": LENDERS,
    "liandong.loans.v1.LoansService/BatchRepayLoans": LENDERS,
    "liandong.loans.v1.LoansService/GetLoan": LOAN_READERS,
    "liandong.loans.v1.LoansService/ListLoans": LOAN_READERS,
    "liandong.loans.v1.LoansService/GetPayoffQuote": COUNTY | LENDERS | AUDITORS,
    "liandong.loans.v1.LoansService/ListBreakers": EVERYONE,
    # Claims.
    "liandong.claims.v1.ClaimsService/IssueMasterPolicy": INSURERS,
    "liandong.claims.v1.ClaimsService/ReportClaim": COUNTY | LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/BatchReportClaims": COUNTY | LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/AdjudicateClaim": INSURERS,
    "liandong.claims.v1.ClaimsService/BatchAdjudicateClaims": INSURERS,
    "liandong.claims.v1.ClaimsService/GetClaim": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/ListClaims": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/GetPayout": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/ListPaymentInstructions": LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/ConfirmPayment": LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/BatchConfirmPayments": LENDERS | INSURERS,
    # Funds.
    "liandong.funds.v1.FundsService/OpenFund": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/RecordContribution": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/GetFund": FUND_READERS,
    "liandong.funds.v1.FundsService/ListFunds": FUND_READERS,
    "liandong.funds.v1.FundsService/FileCompensationCase": LENDERS,
    "liandong.funds.v1.FundsService/BatchFileCompensationCases": LENDERS,
    "liandong.funds.v1.FundsService/DecideCompensationCase": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/BatchDecideCompensationCases": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/GetCompensationCase": FUND_READERS,
    "liandong.funds.v1.FundsService/ListCompensationCases": FUND_READERS,
    # The operator's surface of every service.
    "liandong.common.v1.OperatorService/GetTotals": OPERATORS | AUDITORS,
    "liandong.common.v1.OperatorService/AdvanceDay": OPERATORS,
    "liandong.common.v1.OperatorService/ListParkedEvents": OPERATORS | AUDITORS,
    "liandong.common.v1.OperatorService/ReplayParkedEvents": OPERATORS,
    "liandong.common.v1.OperatorService/DropParkedEvent": OPERATORS,
    "liandong.common.v1.OperatorService/RepublishEvents": OPERATORS,
    # The gateway's own.
    "liandong.gateway.v1.GatewayService/WhoAmI": EVERYONE,
    "liandong.gateway.v1.GatewayService/ListInstitutions": EVERYONE,
}


def may_call(role: str, method: str) -> bool:
    """Whether a row of the table lets this role call this method."""
    return role in TABLE.get(method, frozenset())


def require(role: str, method: str) -> None:
    """Refuse a call that no row of the table allows."""
    if not may_call(role, method):
        raise Denied(
            "ROLE_NOT_ALLOWED",
            f"role {role} may not call {method}",
            message_zh="本角色无此权限",
        )
