"""Commits as values: refs, snapshots, operations, and walks and merges over them."""
