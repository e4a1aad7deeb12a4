"""
Insurance behind the county's loans, and payouts that go to the bank first.

Owns: agreements, master policies, insured lists, premium, assignments, claims with their history,
index covers, lines' results, payouts, payment instructions, what is owed back of payouts that were
taken back, complaints, statements held against ours.
Hears: households and their payee accounts; loans: approved, opened, refused, disbursed, drawn,
settled, reopened, what is owed, and how payouts are divided.
Says: household_insured, household_uninsured; claim_reported, claim_approved, claim_refused,
claim_withdrawn, claim_reopened, claim_overdue; complaint_opened, complaint_answered; line_result;
payout_authorised, payout_corrected, payment_unanswered, payout_settled and payout_reversed.
"""
