"""Funds: the use cases, one file a subject. Each is load, decide, save, say."""
