"""Which `except` ever ran: every clause of the platform against what a run of tests reached."""
