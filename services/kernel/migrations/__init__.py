"""The kernel's own tables, made in every service's schema by its first migration."""
