"""
The county's shared credit record: scores and why, grades, limits.

Owns: indicators, ratings with their working, credit files with grade and limit.
Hears: households' household_registered, household_changed, household_delisted.
Says: household_graded, household_vetoed, limit_granted, limit_changed, limit_expired.
"""
