"""Households: the use cases, one file a subject, inside the caller's transaction."""
