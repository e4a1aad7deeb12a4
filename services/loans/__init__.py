"""
Loans to registered households: applications and their chain, balances, repayment, breakers,
and all that follows: standing, new terms, collection, collateral, interest subsidy.

Owns: loans, borrowers' exposure, breakers, reviews, collection cases, collateral, subsidy claims.
Hears: households; credit's limits; claims' insured and payouts; funds' cover and compensation.
Says: loan_applied, cover_requested, loan_approved, loan_disbursed, payout_allocated and more.
"""
