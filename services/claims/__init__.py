"""
Insurance behind the county's loans, and payouts that go to the bank first.

Owns: agreements, master policies, insured lists, premium, assignments, claims, payouts, payment
instructions, what is owed back of payouts that were taken back, complaints.
Hears: households and their payee accounts; loans: approved, refused, disbursed, drawn, settled, what is
owed, and how payouts are divided.
Says: household_insured, household_uninsured; claim_reported, claim_approved, claim_refused;
payout_authorised, payout_corrected, payment_unanswered, payout_settled and payout_reversed.
"""
