"""Interop: clients of other languages, with nothing but the protos and the guide."""
