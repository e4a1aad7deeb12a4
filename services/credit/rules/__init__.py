"""Credit: the decisions, one file a subject. Pure: no clock, no database, no network."""
