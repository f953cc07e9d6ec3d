"""Names that several rooms of the wiring use."""

from __future__ import annotations

from moongate import __version__

USER_AGENT = f"moongate/{__version__}"

SIGNING_KEY = "moongate-signing.pem"
