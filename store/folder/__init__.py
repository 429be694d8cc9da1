"""The folder beside the store: what changed in it, taking it in, writing it out."""
