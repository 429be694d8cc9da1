"""What code is and reaches: definitions, names, values, modules, packages, and the files that it reads."""
