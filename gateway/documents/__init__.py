"""Documents: papers in PDF and tables in CSV and XLSX, made of what services answer the caller."""
