"""
Insurance behind the county's loans, and payouts that go to the bank first.

Owns: agreements, master policies, insured lists, premium, assignments, claims with their
history, index covers, lines' results, payouts, payment instructions.
Hears: households; loans' loan_approved, loan_disbursed, loan_drawn, loan_refused, loan_settled and
payout_allocated.
Says: household_insured, household_uninsured; claim_reported, claim_approved, claim_refused,
claim_withdrawn, claim_reopened, claim_overdue; line_result; payout_authorised and payout_settled.
"""
