"""One step: its key, its inputs, executing it in this process, and what it returned."""
