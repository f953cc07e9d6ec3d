"""`python -m moongate.cli`, for where the console script is not on the path."""

from __future__ import annotations

from moongate.cli.main import main

main()
