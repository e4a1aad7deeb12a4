"""The demo: one example county, its people, its year."""
