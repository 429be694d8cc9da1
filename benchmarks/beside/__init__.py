"""What `benchmarks/store.py` is made of: the tools, how they are timed, and the workloads."""
