"""Ops, flows, fingerprints, runs, metrics, and `Repo`, the public face over the store."""
