"""Claims: the schema, step by step."""
