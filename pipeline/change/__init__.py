"""Changing what is recorded: commit, merge, switch, restore, undo, names, settings."""
