"""Schema: what a pack, an overlay and an adoption may say; one module a section."""
