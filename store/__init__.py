"""The versioned store: objects, index, refs, operations, snapshots, the folder beside it."""
