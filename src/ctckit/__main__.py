"""Makes ``python -m ctckit`` the same as the command ``ctckit``. Imports the command line only."""

from __future__ import annotations

from ctckit.cli.main import main

if __name__ == "__main__":
    main()
