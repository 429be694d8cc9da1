"""Looking: show, diff, blame, lineage, runs and checks, and values on their way out."""
