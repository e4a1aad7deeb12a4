"""
Access: who may do what, to whose. Pure, and denied unless a row says otherwise.

`TABLE` is the first wall: which role may call which method. `decide` is the second: on which
ground somebody may act on one resource, and what bars it all the same; the policies say it
(`gateway/policies`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.policy import Question, Thing, Verdict, policies
from services.kernel.errors import Denied
from services.programmes.schema.deployment import InstitutionRole as Role
from services.programmes.schema.gateway import GatewayRules

EVERYONE = frozenset(Role)
REGISTRARS = frozenset({Role.COUNTY_CENTRE, Role.POVERTY_OFFICE})
STATIONS = frozenset({Role.VILLAGE_DEPARTMENT, Role.TOWNSHIP_STATION})
COUNTY = REGISTRARS | STATIONS
LENDERS = frozenset({Role.BANK, Role.MUTUAL_AID_SOCIETY})
INSURERS = frozenset({Role.INSURER})
OWN_LOANS = LENDERS | INSURERS
"""Who may lend: an insurer lends its own money under some programmes, and keeps those loans."""
FUND_KEEPERS = frozenset({Role.COUNTY_CENTRE, Role.FINANCE_BUREAU})
OPERATORS = frozenset({Role.OPERATOR})
AUDITORS = frozenset({Role.AUDITOR})
APPLICANTS = STATIONS | OWN_LOANS | {Role.COUNTY_CENTRE}
"""They take applications in for borrowers."""
GRANTORS = COUNTY | LENDERS | INSURERS | {Role.FINANCE_BUREAU, Role.GUARANTOR}
"""Every organ that a programme may give a step of the approval chain."""
LOAN_READERS = GRANTORS | AUDITORS
REPORT_READERS = LOAN_READERS | {Role.REGULATOR}
"""They see sums; rows about single households loans shows to fewer."""
FUND_READERS = FUND_KEEPERS | LENDERS | INSURERS | AUDITORS | {Role.GUARANTOR, Role.POVERTY_OFFICE}
FINANCE = frozenset({Role.FINANCE_BUREAU})
"""Only they move a fund's money (S57)."""
FUND_OVERSEERS = FUND_KEEPERS | AUDITORS | OPERATORS | {Role.REGULATOR}
FUND_WATCHERS = FUND_KEEPERS | AUDITORS
"""They see how a whole fund stands, and who would have paid what."""
FEE_COLLECTORS = OWN_LOANS | STATIONS | {Role.COUNTY_CENTRE, Role.CREDIT_BUREAU}
"""They lend, or collect credit data, and may be paid for it (SC.fun.5, SC.fun.6)."""
CASE_REVIEWERS = FUND_KEEPERS | {Role.POVERTY_OFFICE}
CASE_APPROVERS = CASE_REVIEWERS | {Role.GUARANTOR, Role.INSURER}
"""Every organ that a programme may name for the approval of a compensation."""
CASE_COLLECTORS = OWN_LOANS | FUND_KEEPERS | {Role.GUARANTOR}
CREDIT_READERS = COUNTY | LENDERS | AUDITORS | {Role.FINANCE_BUREAU}
MODEL_USERS = frozenset({Role.BANK, Role.COUNTY_CENTRE})
CLAIM_READERS = COUNTY | LENDERS | INSURERS | AUDITORS
RECONCILERS = LENDERS | INSURERS | {Role.COUNTY_CENTRE}
"""They bring statements: their own, the county's centre anybody's."""
RECONCILIATION_READERS = RECONCILERS | AUDITORS | {Role.FINANCE_BUREAU}
LOAN_RECONCILERS = OWN_LOANS | REGISTRARS
"""They bring lists of loans: lenders their own, the poverty office the national system's."""
LOAN_RECORD_READERS = LOAN_RECONCILERS | AUDITORS | {Role.FINANCE_BUREAU}
PROJECT_READERS = COUNTY | OWN_LOANS | AUDITORS | {Role.FINANCE_BUREAU}
INSURANCE_REPORT_READERS = COUNTY | INSURERS | AUDITORS | {Role.FINANCE_BUREAU}

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
PARTIES = GRANTORS | DEPARTMENTS
REGISTRY_READERS = PARTIES | AUDITORS
SUPPLIERS = COUNTY | LENDERS | DEPARTMENTS | {Role.INSURER, Role.FINANCE_BUREAU}
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
RELENDERS = frozenset({Role.CENTRAL_BANK, Role.COUNTY_CENTRE})
"""The central bank's branch, or the county's centre for it."""
RELENDING_READERS = LENDERS | AUDITORS | RELENDERS | {Role.FINANCE_BUREAU, Role.REGULATOR}

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
    "liandong.households.v1.MovesService/MoveHousehold": frozenset({Role.POVERTY_OFFICE}),
    "liandong.households.v1.MovesService/ListMoves": LOAN_READERS,
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
    "liandong.households.v1.AccountsService/BatchRegisterPayeeAccounts": COUNTY,
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
    "liandong.households.v1.HouseholdRecordsService/StartHouseholdReconciliation": REGISTRARS,
    "liandong.households.v1.HouseholdRecordsService/PostHouseholdLines": REGISTRARS,
    "liandong.households.v1.HouseholdRecordsService/CompareHouseholdStatement": REGISTRARS,
    "liandong.households.v1.HouseholdRecordsService/ListHouseholdReconciliations": REGISTRARS
    | AUDITORS,
    "liandong.households.v1.HouseholdRecordsService/ListHouseholdDifferences": REGISTRARS
    | AUDITORS,
    "liandong.households.v1.HouseholdRecordsService/ResolveHouseholdDifference": REGISTRARS,
    # Credit.
    "liandong.credit.v1.CreditService/DeclareIndicators": REGISTRARS,
    "liandong.credit.v1.CreditService/ListIndicatorRules": CREDIT_READERS | SUPPLIERS,
    "liandong.credit.v1.CreditService/BatchRecordIndicators": SUPPLIERS,
    "liandong.credit.v1.CreditService/RateHouseholds": REGISTRARS,
    "liandong.credit.v1.CreditService/StartRescore": frozenset({Role.COUNTY_CENTRE}),
    "liandong.credit.v1.CreditService/GetRescore": COUNTY | AUDITORS | {Role.FINANCE_BUREAU},
    "liandong.credit.v1.CreditService/GetCreditFile": COUNTY | LENDERS | AUDITORS,
    "liandong.credit.v1.CreditService/ListCreditFiles": COUNTY | LENDERS | AUDITORS,
    "liandong.credit.v1.CreditService/ExplainScore": CREDIT_READERS,
    "liandong.credit.v1.CreditService/RederiveRating": CREDIT_READERS,
    "liandong.credit.v1.CreditService/ListRatings": CREDIT_READERS,
    "liandong.credit.v1.CreditService/RecordExternalScore": MODEL_USERS,
    "liandong.credit.v1.CreditService/GetCreditReport": CREDIT_READERS,
    "liandong.credit.v1.CreditService/GetLimit": CREDIT_READERS,
    "liandong.credit.v1.CreditService/ListLimitChanges": CREDIT_READERS,
    "liandong.credit.v1.CreditService/OpenReviews": STATIONS | {Role.COUNTY_CENTRE},
    "liandong.credit.v1.CreditService/BatchDecideReviewSteps": GRANTORS,
    "liandong.credit.v1.CreditService/ConfirmOverride": GRANTORS,
    "liandong.credit.v1.CreditService/PublishNotices": COUNTY,
    "liandong.credit.v1.CreditService/ObjectToNotice": COUNTY,
    "liandong.credit.v1.CreditService/AnswerObjection": COUNTY,
    "liandong.credit.v1.CreditService/GrantReviews": GRANTORS,
    "liandong.credit.v1.CreditService/GetReview": CREDIT_READERS,
    "liandong.credit.v1.CreditService/ListReviews": CREDIT_READERS,
    "liandong.credit.v1.CreditService/ContestRefusal": COUNTY,
    "liandong.credit.v1.CreditService/AnswerContest": REGISTRARS,
    "liandong.credit.v1.CreditService/ListContests": CREDIT_READERS,
    "liandong.credit.v1.CreditService/ProposeMeasure": COUNTY | LENDERS,
    "liandong.credit.v1.CreditService/DecideMeasure": COUNTY | LENDERS,
    "liandong.credit.v1.CreditService/EndMeasure": REGISTRARS,
    "liandong.credit.v1.CreditService/ListMeasures": CREDIT_READERS,
    "liandong.credit.v1.CreditService/AssessAreas": REGISTRARS,
    "liandong.credit.v1.CreditService/ListCreditAreas": CREDIT_READERS,
    "liandong.credit.v1.CreditService/GetCoverage": CREDIT_READERS,
    # Loans.
    "liandong.loans.v1.LoansService/ApplyForLoan": APPLICANTS,
    "liandong.loans.v1.LoansService/BatchApplyForLoans": APPLICANTS,
    "liandong.loans.v1.LoansService/DecideApplication": GRANTORS,
    "liandong.loans.v1.LoansService/BatchDecideApplications": GRANTORS,
    "liandong.loans.v1.LoansService/DisburseLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/BatchDisburseLoans": OWN_LOANS,
    "liandong.loans.v1.LoansService/RepayLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/BatchRepayLoans": OWN_LOANS,
    "liandong.loans.v1.LoansService/ReverseRepayment": OWN_LOANS,
    "liandong.loans.v1.LoansService/MoveRepayment": OWN_LOANS,
    "liandong.loans.v1.LoansService/RefundOverpayment": OWN_LOANS,
    "liandong.loans.v1.LoansService/CloseAccountingPeriod": FUND_KEEPERS,
    "liandong.loans.v1.LoansService/GetLoanStatement": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/GetRepaymentSchedule": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/GetLoan": LOAN_READERS,
    "liandong.loans.v1.LoansService/ListLoans": LOAN_READERS,
    "liandong.loans.v1.LoansService/GetPayoffQuote": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ListBreakers": EVERYONE,
    "liandong.loans.v1.LoansService/ReclassifyLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/FreezeLoan": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/CloseLoanReview": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/ListLoanReviews": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ListEarlyWarnings": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/GetLoanHistory": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ExtendLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/RenewLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/RestructureLoan": OWN_LOANS,
    "liandong.loans.v1.LoansService/GrantHardshipRelief": OWN_LOANS,
    "liandong.loans.v1.LoansService/OpenCollectionCase": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/RecordCollectionStep": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/CloseCollectionCase": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/GetCollectionCase": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ListCollectionCases": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/SettleWithDiscount": OWN_LOANS,
    "liandong.loans.v1.LoansService/ProposeWriteOff": OWN_LOANS,
    "liandong.loans.v1.LoansService/DecideWriteOff": OWN_LOANS,
    "liandong.loans.v1.LoansService/RegisterCollateral": OWN_LOANS,
    "liandong.loans.v1.LoansService/RevalueCollateral": OWN_LOANS,
    "liandong.loans.v1.LoansService/ReleaseCollateral": OWN_LOANS,
    "liandong.loans.v1.LoansService/RefundDepositInterest": OWN_LOANS,
    "liandong.loans.v1.LoansService/ListCollateral": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/SetSubsidyBudget": frozenset({Role.FINANCE_BUREAU}),
    "liandong.loans.v1.LoansService/GetSubsidyBudget": FUND_READERS,
    "liandong.loans.v1.LoansService/ClaimSubsidy": OWN_LOANS,
    "liandong.loans.v1.LoansService/PaySubsidy": frozenset({Role.FINANCE_BUREAU}),
    "liandong.loans.v1.LoansService/ListSubsidyClaims": FUND_KEEPERS | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/GetSubsidyClaim": FUND_KEEPERS | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ResetBreaker": FUND_KEEPERS | REGISTRARS,
    "liandong.loans.v1.LoansService/ListBreakerRecords": LOAN_READERS,
    "liandong.loans.v1.LoansService/GetApplication": LOAN_READERS,
    "liandong.loans.v1.LoansService/SuspendApplication": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/ResumeApplication": COUNTY | OWN_LOANS,
    "liandong.loans.v1.LoansService/CancelApplication": APPLICANTS,
    "liandong.loans.v1.LoansService/RequestCoverAgain": OWN_LOANS,
    "liandong.loans.v1.LoansService/DrawOnLimit": OWN_LOANS,
    "liandong.loans.v1.LoansService/RequestBatch": APPLICANTS,
    "liandong.loans.v1.LoansService/SignBatch": GRANTORS,
    "liandong.loans.v1.LoansService/PayBatch": OWN_LOANS,
    "liandong.loans.v1.LoansService/ListBatches": LOAN_READERS,
    "liandong.loans.v1.LoansService/GiveUpUndrawn": OWN_LOANS,
    "liandong.loans.v1.LoansService/SetLenderBook": frozenset({Role.COUNTY_CENTRE}),
    "liandong.loans.v1.LoansService/ListLenderBooks": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/PostCoreEntries": OWN_LOANS,
    "liandong.loans.v1.LoansService/ListBookDifferences": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.LoansService/ImportOpeningLoans": frozenset({Role.COUNTY_CENTRE}),
    "liandong.loans.v1.NoticesService/QueueNotices": COUNTY | OWN_LOANS,
    "liandong.loans.v1.NoticesService/TakeNotices": NOTICE_SENDERS,
    "liandong.loans.v1.NoticesService/ReportNotices": NOTICE_SENDERS,
    "liandong.loans.v1.NoticesService/WithdrawNotices": REGISTRARS | OWN_LOANS,
    "liandong.loans.v1.NoticesService/ListNotices": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.NoticesService/GetNotice": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.NoticesService/ReceiveWarning": WARNERS,
    "liandong.loans.v1.NoticesService/WithdrawWarning": WARNERS,
    "liandong.loans.v1.NoticesService/ListWarnings": COUNTY | OWN_LOANS | AUDITORS | WARNERS,
    "liandong.loans.v1.NoticesService/MakePublication": PUBLISHERS,
    "liandong.loans.v1.NoticesService/PublishPublication": PUBLISHERS,
    "liandong.loans.v1.NoticesService/WithdrawPublication": PUBLISHERS,
    "liandong.loans.v1.NoticesService/ListPublications": EVERYONE,
    "liandong.loans.v1.NoticesService/GetPublication": EVERYONE,
    "liandong.loans.v1.EntitlementsService/RecordEntitlements": COUNTY | LENDERS,
    "liandong.loans.v1.EntitlementsService/ApproveEntitlements": PAYERS,
    "liandong.loans.v1.EntitlementsService/PayEntitlements": PAYERS,
    "liandong.loans.v1.EntitlementsService/WithdrawEntitlement": PAYERS,
    "liandong.loans.v1.EntitlementsService/ListEntitlements": COUNTY | PAYERS | AUDITORS,
    "liandong.loans.v1.EntitlementsService/GetEntitlement": COUNTY | PAYERS | AUDITORS,
    "liandong.loans.v1.RelendingService/OpenRelendingFacility": RELENDERS,
    "liandong.loans.v1.RelendingService/MoveRelending": LENDERS,
    "liandong.loans.v1.RelendingService/CloseRelendingFacility": RELENDERS | LENDERS,
    "liandong.loans.v1.RelendingService/RecordRelendingVisit": COUNTY | LENDERS,
    "liandong.loans.v1.RelendingService/ListRelendingVisits": COUNTY | RELENDING_READERS,
    "liandong.loans.v1.RelendingService/ListRelendingFacilities": RELENDING_READERS,
    "liandong.loans.v1.RelendingService/ListRelendingMovements": RELENDING_READERS,
    "liandong.loans.v1.RelendingService/SetFundingCosts": LENDERS,
    "liandong.loans.v1.RelendingService/ListLoanMargins": LENDERS | AUDITORS,
    "liandong.loans.v1.LoanRecordsService/StartLoanReconciliation": LOAN_RECONCILERS,
    "liandong.loans.v1.LoanRecordsService/PostLoanLines": LOAN_RECONCILERS,
    "liandong.loans.v1.LoanRecordsService/CompareLoanStatement": LOAN_RECONCILERS,
    "liandong.loans.v1.LoanRecordsService/ListLoanReconciliations": LOAN_RECORD_READERS,
    "liandong.loans.v1.LoanRecordsService/ListLoanDifferences": LOAN_RECORD_READERS,
    "liandong.loans.v1.LoanRecordsService/ResolveLoanDifference": LOAN_RECONCILERS,
    "liandong.loans.v1.LoanRecordsService/ConfirmLoanResolution": LOAN_RECONCILERS,
    "liandong.loans.v1.LoanRecordsService/ListDueReconciliations": LOAN_RECORD_READERS,
    "liandong.loans.v1.ProjectsService/RegisterLoanProject": REGISTRARS,
    "liandong.loans.v1.ProjectsService/AddProjectLoans": REGISTRARS | OWN_LOANS,
    "liandong.loans.v1.ProjectsService/ListProjectAtLevel": REGISTRARS,
    "liandong.loans.v1.ProjectsService/EvaluateLoanProject": COUNTY | OWN_LOANS,
    "liandong.loans.v1.ProjectsService/WatchLoanProject": REGISTRARS,
    "liandong.loans.v1.ProjectsService/StartWindDown": REGISTRARS,
    "liandong.loans.v1.ProjectsService/RecordLegacyDuty": REGISTRARS | OWN_LOANS,
    "liandong.loans.v1.ProjectsService/GetLoanProject": PROJECT_READERS,
    "liandong.loans.v1.ProjectsService/ListLoanProjects": PROJECT_READERS,
    "liandong.loans.v1.ProjectsService/ListProjectLoans": PROJECT_READERS,
    "liandong.loans.v1.ProjectsService/GetProjectTotals": PROJECT_READERS,
    "liandong.loans.v1.ReportsService/GetReport": REPORT_READERS,
    "liandong.loans.v1.ReportsService/ExportReport": REPORT_READERS,
    "liandong.loans.v1.ReportsService/ListRecoveryRates": REPORT_READERS,
    "liandong.loans.v1.ReportsService/ListRiskLoans": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.ReportsService/ListProgrammeReports": REPORT_READERS,
    "liandong.loans.v1.ReportsService/GetBulletin": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.ReportsService/GetIndicators": REPORT_READERS,
    "liandong.loans.v1.ReportsService/StateCount": REGISTRARS,
    "liandong.loans.v1.ReportsService/StateLenderRatio": OWN_LOANS,
    "liandong.loans.v1.ReportsService/ListLenderRatios": REPORT_READERS,
    "liandong.loans.v1.ReportsService/AssessLenders": REPORT_READERS,
    "liandong.loans.v1.ReportsService/SetLoanBatch": REGISTRARS | OWN_LOANS,
    "liandong.loans.v1.ReportsService/GetHouseholdStatement": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.loans.v1.TasksService/OpenTask": GRANTORS,
    "liandong.loans.v1.TasksService/AssignDuty": GRANTORS,
    "liandong.loans.v1.TasksService/ListDuties": GRANTORS,
    "liandong.loans.v1.TasksService/AssignTask": GRANTORS,
    "liandong.loans.v1.TasksService/SignTask": GRANTORS,
    "liandong.loans.v1.TasksService/CloseTask": GRANTORS,
    "liandong.loans.v1.TasksService/ReportDaily": GRANTORS,
    "liandong.loans.v1.TasksService/GetTask": LOAN_READERS,
    "liandong.loans.v1.TasksService/ListTasks": LOAN_READERS,
    "liandong.loans.v1.TasksService/ListEscalations": LOAN_READERS,
    "liandong.loans.v1.TasksService/GetOverdueReport": LOAN_READERS,
    "liandong.loans.v1.TasksService/CheckCompliance": LOAN_READERS,
    "liandong.loans.v1.TasksService/RegisterIssue": GRANTORS,
    "liandong.loans.v1.TasksService/SetIssueDeadline": COUNTY | {Role.FINANCE_BUREAU},
    "liandong.loans.v1.TasksService/RectifyIssue": GRANTORS,
    "liandong.loans.v1.TasksService/SendIssueBack": GRANTORS,
    "liandong.loans.v1.TasksService/CrossOffIssue": GRANTORS,
    "liandong.loans.v1.TasksService/GetIssue": LOAN_READERS,
    "liandong.loans.v1.TasksService/ListIssues": LOAN_READERS,
    "liandong.loans.v1.TasksService/DecideDisposition": GRANTORS,
    "liandong.loans.v1.TasksService/ListDispositions": LOAN_READERS,
    "liandong.loans.v1.TasksService/ListProblemLoans": LOAN_READERS,
    "liandong.loans.v1.TasksService/ListDueDiligence": LOAN_READERS,
    # Claims.
    "liandong.claims.v1.ClaimsService/IssueMasterPolicy": INSURERS,
    "liandong.claims.v1.PoliciesService/ListProducts": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/QuotePremium": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/RecordAgreement": FUND_KEEPERS,
    "liandong.claims.v1.PoliciesService/EndAgreement": FUND_KEEPERS,
    "liandong.claims.v1.PoliciesService/ListAgreements": CLAIM_READERS | FUND_KEEPERS,
    "liandong.claims.v1.PoliciesService/ShareLines": FUND_KEEPERS,
    "liandong.claims.v1.PoliciesService/ListLineShares": CLAIM_READERS | FUND_KEEPERS,
    "liandong.claims.v1.PoliciesService/GetMasterPolicy": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/ListMasterPolicies": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/RenewMasterPolicy": INSURERS,
    "liandong.claims.v1.PoliciesService/CarryInsuredOver": INSURERS,
    "liandong.claims.v1.PoliciesService/EndMasterPolicy": INSURERS,
    "liandong.claims.v1.PoliciesService/EnrolInsured": INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.PoliciesService/EndorseInsured": INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.PoliciesService/ListInsured": COUNTY | INSURERS | AUDITORS,
    "liandong.claims.v1.PoliciesService/ListEndorsements": COUNTY | INSURERS | AUDITORS,
    "liandong.claims.v1.PoliciesService/GetCertificate": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/CountCertificates": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/RecordPremiumPayments": INSURERS,
    "liandong.claims.v1.PoliciesService/ListPremiums": FUND_KEEPERS | INSURERS | AUDITORS,
    "liandong.claims.v1.PoliciesService/TrueUpPremium": INSURERS | {Role.FINANCE_BUREAU},
    "liandong.claims.v1.PoliciesService/RecordAssignments": LENDERS,
    "liandong.claims.v1.PoliciesService/RevokeAssignments": LENDERS
    | STATIONS
    | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.PoliciesService/ListAssignments": CLAIM_READERS,
    "liandong.claims.v1.PoliciesService/ConfirmDifficulty": LENDERS,
    "liandong.claims.v1.PoliciesService/EndDifficulty": LENDERS,
    "liandong.claims.v1.PoliciesService/ListDifficulties": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/ReportClaim": COUNTY | LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/BatchReportClaims": COUNTY | LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/AdjudicateClaim": INSURERS,
    "liandong.claims.v1.ClaimsService/BatchAdjudicateClaims": INSURERS,
    "liandong.claims.v1.ClaimsService/ConfirmAdjudications": INSURERS,
    "liandong.claims.v1.ClaimsService/DecideEventClaims": INSURERS,
    "liandong.claims.v1.ClaimsService/AddClaimDocuments": COUNTY | INSURERS,
    "liandong.claims.v1.ClaimsService/SurveyClaim": STATIONS | INSURERS,
    "liandong.claims.v1.ClaimsService/SuspendClaim": STATIONS | INSURERS,
    "liandong.claims.v1.ClaimsService/ResumeClaim": STATIONS | INSURERS,
    "liandong.claims.v1.ClaimsService/WithdrawClaim": COUNTY | INSURERS,
    "liandong.claims.v1.ClaimsService/ReopenClaim": INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.ClaimsService/DisputeClaim": STATIONS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.ClaimsService/AnswerDispute": INSURERS,
    "liandong.claims.v1.ClaimsService/GetClaim": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/ListClaims": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/GetPayout": CLAIM_READERS,
    "liandong.claims.v1.ClaimsService/ListPaymentInstructions": LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/ConfirmPayment": LENDERS | INSURERS,
    "liandong.claims.v1.ClaimsService/BatchConfirmPayments": LENDERS | INSURERS,
    "liandong.claims.v1.RecordsService/StartReconciliation": RECONCILERS,
    "liandong.claims.v1.RecordsService/PostStatementLines": RECONCILERS,
    "liandong.claims.v1.RecordsService/CompareStatement": RECONCILERS,
    "liandong.claims.v1.RecordsService/ListReconciliations": RECONCILIATION_READERS,
    "liandong.claims.v1.RecordsService/ListDifferences": RECONCILIATION_READERS,
    "liandong.claims.v1.RecordsService/ResolveDifference": RECONCILERS,
    "liandong.claims.v1.RecordsService/ImportOpeningPolicies": frozenset({Role.COUNTY_CENTRE}),
    "liandong.claims.v1.RecordsService/GetInsuranceReport": INSURANCE_REPORT_READERS,
    "liandong.claims.v1.RecordsService/ExportInsuranceReport": INSURANCE_REPORT_READERS,
    "liandong.claims.v1.PayoutsService/QuotePayout": LENDERS | INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.PayoutsService/ListPayouts": CLAIM_READERS,
    "liandong.claims.v1.PayoutsService/AskPayment": INSURERS,
    "liandong.claims.v1.PayoutsService/AnswerPayment": LENDERS | INSURERS,
    "liandong.claims.v1.PayoutsService/ResendPayment": INSURERS,
    "liandong.claims.v1.PayoutsService/SendPayments": INSURERS,
    "liandong.claims.v1.PayoutsService/GetPaymentMessage": INSURERS,
    "liandong.claims.v1.PayoutsService/TakePaymentStatuses": INSURERS,
    "liandong.claims.v1.PayoutsService/TakeBookedEntries": LENDERS | INSURERS,
    "liandong.claims.v1.PayoutsService/ListPaymentWords": LENDERS | INSURERS,
    "liandong.claims.v1.PayoutsService/RecordLenderAccount": LENDERS | INSURERS,
    "liandong.claims.v1.PayoutsService/RegisterHeirPayee": COUNTY | INSURERS,
    "liandong.claims.v1.PayoutsService/ReversePayout": INSURERS,
    "liandong.claims.v1.PayoutsService/DecideReversal": INSURERS,
    "liandong.claims.v1.PayoutsService/ListReceivables": CLAIM_READERS,
    "liandong.claims.v1.PayoutsService/RecordReceivablePayment": INSURERS,
    "liandong.claims.v1.PayoutsService/GetPayoutNote": CLAIM_READERS,
    "liandong.claims.v1.PayoutsService/FileComplaint": COUNTY | LENDERS | INSURERS,
    "liandong.claims.v1.PayoutsService/AnswerComplaint": INSURERS,
    "liandong.claims.v1.PayoutsService/ListComplaints": COUNTY | INSURERS | AUDITORS,
    "liandong.claims.v1.IndicesService/SetInsuredQuantities": INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.IndicesService/RecordIndexValue": PARTIES,
    "liandong.claims.v1.IndicesService/ListIndexValues": CLAIM_READERS | PARTIES,
    "liandong.claims.v1.IndicesService/ListIndexPeriods": CLAIM_READERS,
    "liandong.claims.v1.IndicesService/StateLineResult": INSURERS | {Role.COUNTY_CENTRE},
    "liandong.claims.v1.IndicesService/ListLineResults": FUND_KEEPERS | INSURERS | AUDITORS,
    # Funds.
    "liandong.funds.v1.FundsService/OpenFund": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/RecordContribution": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/GetFund": FUND_READERS,
    "liandong.funds.v1.FundsService/ListFunds": FUND_READERS,
    "liandong.funds.v1.FundsService/FileCompensationCase": OWN_LOANS,
    "liandong.funds.v1.FundsService/BatchFileCompensationCases": OWN_LOANS,
    "liandong.funds.v1.FundsService/DecideCompensationCase": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/BatchDecideCompensationCases": FUND_KEEPERS,
    "liandong.funds.v1.FundsService/GetCompensationCase": FUND_READERS,
    "liandong.funds.v1.FundsService/ListCompensationCases": FUND_READERS,
    "liandong.funds.v1.CasesService/VerifyCase": CASE_REVIEWERS,
    "liandong.funds.v1.CasesService/PublishCase": CASE_REVIEWERS,
    "liandong.funds.v1.CasesService/ApproveCase": CASE_APPROVERS,
    "liandong.funds.v1.CasesService/PayCase": FUND_KEEPERS,
    "liandong.funds.v1.CasesService/DenyCase": CASE_REVIEWERS,
    "liandong.funds.v1.CasesService/ReturnCase": CASE_REVIEWERS,
    "liandong.funds.v1.CasesService/RepairCase": OWN_LOANS,
    "liandong.funds.v1.CasesService/AppealCase": OWN_LOANS,
    "liandong.funds.v1.CasesService/DecideAppeal": CASE_REVIEWERS,
    "liandong.funds.v1.CasesService/GetCaseFile": FUND_READERS,
    "liandong.funds.v1.CasesService/ListShareInstructions": FUND_READERS,
    "liandong.funds.v1.CasesService/ConfirmShare": OWN_LOANS,
    "liandong.funds.v1.CasesService/RecordRecovery": CASE_COLLECTORS,
    "liandong.funds.v1.CasesService/ListRecoveries": FUND_READERS,
    "liandong.funds.v1.CasesService/ProposeCaseWriteOff": OWN_LOANS | FUND_KEEPERS,
    "liandong.funds.v1.CasesService/DecideCaseWriteOff": FUND_KEEPERS,
    "liandong.funds.v1.CasesService/GetCasePositions": FUND_READERS,
    "liandong.funds.v1.CasesService/ListPositions": FUND_READERS,
    "liandong.funds.v1.CasesService/GetCover": FUND_READERS,
    "liandong.funds.v1.CasesService/ListCovers": FUND_READERS,
    "liandong.funds.v1.CasesService/ChooseSharingModel": FUND_KEEPERS,
    "liandong.funds.v1.FundAccountsService/CloseFundPeriod": FINANCE,
    "liandong.funds.v1.FundAccountsService/RecordContributionDue": FINANCE,
    "liandong.funds.v1.FundAccountsService/GetArrival": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/ListContributions": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/GetTopUp": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/GetVillageFund": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/GetMutualPool": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/SizeInsurerPool": FINANCE,
    "liandong.funds.v1.FundAccountsService/ListLineResults": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/ProposeTransfer": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeDivision": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeWithdrawal": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeClosing": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeStabilisation": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeFacility": FINANCE,
    "liandong.funds.v1.FundAccountsService/ProposeOpening": FINANCE,
    "liandong.funds.v1.FundAccountsService/DecideFundOrder": FINANCE,
    "liandong.funds.v1.FundAccountsService/GetFundOrder": FUND_OVERSEERS,
    "liandong.funds.v1.FundAccountsService/ListFundOrders": FUND_OVERSEERS,
    "liandong.funds.v1.FundAccountsService/ListFacilities": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/FileFeeClaim": FEE_COLLECTORS,
    "liandong.funds.v1.FundAccountsService/DecideFeeClaim": FINANCE,
    "liandong.funds.v1.FundAccountsService/PayFeeClaim": FINANCE,
    "liandong.funds.v1.FundAccountsService/ListFeeClaims": FEE_COLLECTORS | FUND_OVERSEERS,
    "liandong.funds.v1.FundAccountsService/ListFundEntries": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/GetFundBalance": FUND_READERS,
    "liandong.funds.v1.FundAccountsService/ListFundRegister": FUND_READERS | FUND_OVERSEERS,
    "liandong.funds.v1.WatchService/RunWhatIf": FUND_WATCHERS | LENDERS,
    "liandong.funds.v1.WatchService/GetFundWatch": FUND_WATCHERS | LENDERS,
    "liandong.funds.v1.WatchService/GetYearlyAudit": FUND_WATCHERS,
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
    "liandong.gateway.v1.InsuredListService/EnrolInsuredByIdentity": INSURERS
    | {Role.COUNTY_CENTRE},
    "liandong.gateway.v1.GatewayService/GetStatus": EVERYONE,
    # Papers and tables; what is asked of the services is allowed or refused there once more.
    "liandong.gateway.v1.DocumentsService/RenderCreditReport": CREDIT_READERS,
    "liandong.gateway.v1.DocumentsService/RenderCertificate": CLAIM_READERS,
    "liandong.gateway.v1.DocumentsService/RenderHouseholdStatement": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.gateway.v1.DocumentsService/RenderLoanStatement": COUNTY | OWN_LOANS | AUDITORS,
    "liandong.gateway.v1.DocumentsService/RenderAccessReport": AUDITORS | {Role.COUNTY_CENTRE},
    "liandong.gateway.v1.DocumentsService/ExportTable": REPORT_READERS
    | CLAIM_READERS
    | FUND_READERS,
    "liandong.gateway.v1.HouseholdSelfService/IdentifyMe": PEOPLE,
    "liandong.gateway.v1.HouseholdSelfService/GetMyFile": PEOPLE | STATIONS,
    "liandong.gateway.v1.HouseholdSelfService/PrintMyPaper": PEOPLE | STATIONS,
    "liandong.gateway.v1.HouseholdSelfService/FileMyDispute": PEOPLE | STATIONS,
    "liandong.gateway.v1.HouseholdSelfService/ListMyAccesses": PEOPLE | STATIONS,
    "liandong.gateway.v1.AccessLogService/ListLogKeys": EVERYONE,
    "liandong.gateway.v1.AccessLogService/ListDayRoots": EVERYONE,
    "liandong.gateway.v1.AccessLogService/TakeDayRoot": EVERYONE,
    "liandong.gateway.v1.AccessLogService/ListDayRootTakings": EVERYONE,
    "liandong.gateway.v1.AccessLogService/SearchAccesses": AUDITORS,
    "liandong.gateway.v1.AccessLogService/ListAccessesOf": AUDITORS | {Role.COUNTY_CENTRE},
    "liandong.gateway.v1.AccessLogService/OpenBreakGlass": OPERATORS,
    "liandong.gateway.v1.AccessLogService/ConfirmBreakGlass": OPERATORS,
    "liandong.gateway.v1.AccessLogService/CloseBreakGlass": OPERATORS,
    "liandong.gateway.v1.AccessLogService/ListBreakGlasses": OPERATORS | AUDITORS,
    "liandong.gateway.v1.AccessLogService/ListRetentionReports": OPERATORS | AUDITORS,
    "liandong.gateway.v1.InstitutionsService/EnterInstitutions": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/ListRegistrations": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/RegisterCertificate": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/RevokeCertificate": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/RegisterPersonKey": EVERYONE - AUDITORS,
    "liandong.gateway.v1.InstitutionsService/RevokePersonKey": EVERYONE - AUDITORS,
    "liandong.gateway.v1.InstitutionsService/ProposeStanding": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/DecideStanding": OPERATORS,
    "liandong.gateway.v1.InstitutionsService/SetLimit": OPERATORS,
}


_OWN = "liandong.gateway.v1.HouseholdSelfService"
_WHO = frozenset(
    {
        "liandong.households.v1.PeopleService/ResolvePersons",
        "liandong.households.v1.PeopleService/DisclosePersons",
        "liandong.households.v1.HouseholdsService/GetHousehold",
    }
)
_FILE = _WHO | {
    "liandong.households.v1.FactsService/ListFacts",
    "liandong.households.v1.FactsService/ListDisputes",
    "liandong.credit.v1.CreditService/GetCreditReport",
    "liandong.loans.v1.LoansService/ListLoans",
    "liandong.loans.v1.ReportsService/GetHouseholdStatement",
    "liandong.loans.v1.EntitlementsService/ListEntitlements",
    "liandong.claims.v1.PoliciesService/GetCertificate",
    "liandong.claims.v1.ClaimsService/ListClaims",
    "liandong.claims.v1.ClaimsService/GetPayout",
}
_BELONGS = _WHO | {
    "liandong.loans.v1.ReportsService/GetHouseholdStatement",
    "liandong.loans.v1.LoansService/ListLoans",
    "liandong.claims.v1.ClaimsService/ListClaims",
}
WITHIN: Mapping[str, frozenset[str]] = {
    f"{_OWN}/IdentifyMe": _WHO,
    f"{_OWN}/GetMyFile": _FILE,
    f"{_OWN}/PrintMyPaper": _FILE,
    f"{_OWN}/ListMyAccesses": _BELONGS,
    f"{_OWN}/FileMyDispute": _BELONGS
    | {
        "liandong.households.v1.FactsService/OpenDispute",
        "liandong.credit.v1.CreditService/GetCreditReport",
        "liandong.credit.v1.CreditService/ContestRefusal",
        "liandong.claims.v1.ClaimsService/DisputeClaim",
    },
}
"""
What a method of ours asks of services for a role that may not ask them itself.

A person's portal may call none of these: it would name any household it likes. The gateway asks
them for it, about the household that the person was found to belong to.
"""


def require_within(role: str, own: str, method: str) -> None:
    """Refuse what a method of ours would ask, unless its caller may, or it may for people."""
    if role in PEOPLE and method in WITHIN.get(own, frozenset()):
        return
    require(role, method)


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


HOUSEHOLD = "household"
"""A person who looks up what is kept about the own household; no institution's role."""

GROUPS: Mapping[str, frozenset[str]] = {
    "lenders": LENDERS,
    "insurers": INSURERS,
    "government": COUNTY | AUDITORS | {Role.FINANCE_BUREAU},
}
"""The sets of roles that policies name."""

DUTIES: Mapping[str, str] = {
    "loan.review": "review",
    "loan.disburse": "disbursement",
    "fund.compensation.approve": "compensation_approval",
}
"""What doing an action counts as, where some duties are kept apart."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: in which role, for which institution and areas, as which person."""

    role: str
    institution_id: str | None = None
    areas: tuple[str, ...] = ()
    person_id: str | None = None
    household_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for, as far as access turns on it; what is unknown gives nobody a ground."""

    area: str | None = None
    household_id: str | None = None
    lender: str | None = None
    insurer: str | None = None
    application_to: str | None = None
    open_claim_insurer: str | None = None
    done_by: Mapping[str, str] | None = None
    """Which person did which duty on it so far: `{"review": "u7"}`."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a programme adds; the defaults are the platform's own (S47, S52)."""

    shared_grade: str = "application_only"
    self_service: bool = True
    compensation_approvers: frozenset[str] = frozenset({Role.FINANCE_BUREAU.value})
    segregation: tuple[tuple[str, str], ...] = (
        ("review", "disbursement"),
        ("review", "compensation_approval"),
        ("disbursement", "compensation_approval"),
    )


def conditions_of(rules: GatewayRules) -> Conditions:
    """A programme's gateway clauses as conditions; it adds to the platform's segregation."""
    own = Conditions()
    approvers = {organ.value for organ in rules.compensation_approved_by}
    pairs = [(pair.first, pair.second) for pair in rules.segregation]
    return Conditions(
        shared_grade=rules.shared_grade,
        self_service=rules.self_service,
        compensation_approvers=frozenset(approvers) or own.compensation_approvers,
        segregation=tuple(dict.fromkeys([*own.segregation, *pairs])),
    )


def decide(
    subject: Subject, action: str, resource: Resource, conditions: Conditions = Conditions()
) -> Verdict:
    """Whether a subject may act on a resource; an action nobody wrote down is denied."""
    holding = {
        "shared_grade": conditions.shared_grade != "none",
        "self_service": conditions.self_service,
        "approver": subject.role in conditions.compensation_approvers,
        "same_person": _same_person(subject, DUTIES.get(action), resource, conditions),
    }
    question = Question(
        groups=groups_of(subject.role),
        institution=subject.institution_id or "",
        household=subject.household_id or "",
        action=action,
        thing=Thing(
            in_area=_in_area(subject, resource),
            lender=resource.lender or "",
            insurer=resource.insurer or "",
            household=resource.household_id or "",
            applied_to=_some(resource.application_to),
            claimed_from=_some(resource.open_claim_insurer),
        ),
        conditions=frozenset(name for name, holds in holding.items() if holds),
    )
    return policies().decide(question)


def groups_of(role: str) -> frozenset[str]:
    """A role, and the sets of roles that policies name and that it is in."""
    return frozenset({role, *(name for name, roles in GROUPS.items() if role in roles)})


def contains(area: str, inner: str) -> bool:
    """Whether an area holds another; `360000` is a whole province, and nothing holds nothing."""
    prefix = area
    while len(prefix) in (4, 6) and prefix.endswith("00"):
        prefix = prefix[:-2]
    return bool(prefix) and inner.startswith(prefix)


def _in_area(subject: Subject, resource: Resource) -> bool:
    return resource.area is not None and any(
        contains(area, resource.area) for area in subject.areas
    )


def _some(one: str | None) -> frozenset[str]:
    return frozenset({one}) if one else frozenset()


def _same_person(
    subject: Subject, duty: str | None, resource: Resource, conditions: Conditions
) -> bool:
    """Whether one did before what must be another's work; whoever hides who he is, may have."""
    for one, other in conditions.segregation:
        for done, now in ((one, other), (other, one)):
            by = (resource.done_by or {}).get(done)
            if now == duty and by is not None and subject.person_id in (None, by):
                return True
    return False
