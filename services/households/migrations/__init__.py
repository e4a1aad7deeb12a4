"""Migrations of the households schema, in the order of their numbers."""
