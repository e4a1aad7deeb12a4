"""
Loans to households, groups and entities: applications and their chain, draws, balances,
repayment, breakers, and all that follows: standing, new terms, collection, collateral, subsidy,
tasks, issues.

Owns: loans, applications with their chain, clock and contract, borrowers' exposure, breakers,
reviews, collection cases, collateral, subsidy claims; tasks, issues, dispositions; notices,
departments' warnings, publications, entitlements, the relending ledger; projects that use the loans
of many, lists of lenders and national systems held against our loans.
Hears: households; credit's limits and blacklist; claims' insured and payouts; funds' cover and
compensation.
Says: loan_applied, cover_requested, loan_approved, loan_disbursed, loan_drawn and more.
"""
