"""Claims: the decisions. Pure: no clock, no database, no network."""
