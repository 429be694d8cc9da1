"""Columns: which types there are, and the canonical bytes of one column of one segment."""
