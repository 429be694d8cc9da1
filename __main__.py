"""`python -m aq`."""

from __future__ import annotations

from aq.cli.main import main

if __name__ == "__main__":
    main()
