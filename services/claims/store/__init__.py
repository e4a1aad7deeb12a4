"""Claims: the only folder with SQL. Rows in, model out, and back."""
