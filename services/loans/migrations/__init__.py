"""Loans: the schema, step by step."""
