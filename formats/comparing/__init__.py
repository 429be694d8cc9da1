"""Two versions of a table: rows that belong together, what differs, merging, rows that are taken over."""
