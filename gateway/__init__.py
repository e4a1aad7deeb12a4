"""
The door: gRPC in, gRPC out; no business rules.

Owns: institutions and their persons, the access log and its proofs, break-glasses.  Hears: nobody.
Says: institution_changed, day_root_made.
"""
