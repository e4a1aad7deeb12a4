"""Credit: the schema, step by step."""
