"""
Insurance behind the county's loans, and payouts that go to the bank first.

Owns: master policies, insured lists, assignments, claims, payouts, payment instructions, what is
owed back of payouts that were taken back, complaints.
Hears: households and their payee accounts; loans: approved, refused, settled, what is owed, and how
payouts are divided.
Says: household_insured; claim_reported, claim_approved, claim_refused; payout_authorised,
payout_corrected, payment_unanswered, payout_settled and payout_reversed.
"""
