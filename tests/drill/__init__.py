"""The drill: a county's year is backed up while it is lived, lost, and restored to the fen."""
