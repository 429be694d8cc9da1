"""How objects lie in packs: frames, compression, and deltas against other objects."""
