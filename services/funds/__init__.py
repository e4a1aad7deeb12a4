"""
Funds: cover before the loan, shared loss after it.

Owns: funds of every kind and their money, cover per loan, compensation cases, recoveries.
Hears: loans' cover requests, disbursements, payments, arrears, breakers; claims' payouts, lines.
Says: cover_reserved, cover_refused, cover_released, compensation_paid, recovery_shared and more.
"""
