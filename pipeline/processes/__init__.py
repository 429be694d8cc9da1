"""Processes that execute steps: workers here, by a command or over Dask, and what is said to them."""
