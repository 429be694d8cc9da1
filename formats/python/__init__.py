"""Python values: numpy arrays, deterministic pickles that are read without being executed, fingerprints."""
