"""Funds: the only package with SQL, one file a subject. Rows in, model out, and back."""
