"""Migrations of the funds schema, run by its owner role."""
