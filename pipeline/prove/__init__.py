"""Proving: run an old flow again, find the commit that made a metric worse."""
