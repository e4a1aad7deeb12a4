"""A farm that only the kernel's tests know: `fields` say, `barns` hear and keep."""
