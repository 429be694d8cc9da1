"""Keeping a repository in order: fsck, gc, du."""
