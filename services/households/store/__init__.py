"""Households: the only modules with SQL, one file a subject. Values in, values out."""
