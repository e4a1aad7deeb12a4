"""
Loans to households, groups and entities: applications, balances, repayment, draws, breakers.

Owns: loans, applications with their chain, clock and contract, borrowers' exposure, breakers.
Hears: households; credit's limits and blacklist; claims' insured and payouts; funds' cover and
compensation.
Says: loan_applied, cover_requested, loan_approved, loan_disbursed, loan_drawn and more.
"""
