"""
The county's shared credit record: scores and why, grades, limits, standing.

Owns: indicators and their catalogue, ratings with their working, re-scores, credit files with
grade and limit, reviews and contests, measures (sanctions, rewards, waivers), exposures over all
lenders, credit areas and coverage.
Hears: households' household_registered, household_changed, household_delisted; loans'
loan_approved, loan_refused, loan_disbursed, loan_repaid, loan_overdue, loan_settled,
payout_allocated, payout_allocation_reversed, breaker_tripped, breaker_reset.
Says: household_graded, household_vetoed, household_listed, household_released, household_rewarded,
reward_ended, limit_granted, limit_changed, limit_expired, review_moved, refusal_contested,
contest_answered, area_certified.
"""

import os

# Polars reads this when it is first imported. A chunk is small: threads of its own would cost more
# than they give, and take the cores from the database.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
