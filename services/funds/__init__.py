"""
Funds: cover before the loan, shared loss after it.

Owns: compensation funds, cover reserved per loan, compensation cases, loss shares, recoveries.
Hears: loans' cover requests, disbursements, payments, arrears, breakers; claims' settled payouts.
Says: cover_reserved, cover_refused, cover_released, compensation_paid, recovery_shared and more.
"""
