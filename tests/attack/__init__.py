"""Attacks on the running system: another's ids, canaries, broken bodies, every role."""
