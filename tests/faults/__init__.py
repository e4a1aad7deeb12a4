"""Faults: what is done to a platform under load, and what must hold afterwards."""
