"""
Insurance behind the county's loans, and payouts that go to the bank first.

Owns: master policies, insured lists, assignments, claims, payouts, payment instructions.
Hears: households; loans' loan_approved, loan_refused, loan_settled and payout_allocated.
Says: household_insured; claim_reported, claim_approved, claim_refused; payout_authorised and
payout_settled.
"""
