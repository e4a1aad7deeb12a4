"""
The door: gRPC in, gRPC out; no business rules.

Owns: institutions and their persons, the access log.  Hears: nobody.  Says: institution_changed.
"""
