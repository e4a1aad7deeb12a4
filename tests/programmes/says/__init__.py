"""What a pack must say for a golden case to be its own; one module a family."""
