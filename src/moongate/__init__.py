"""Moongate: the open-model gateway for a company's own cloud.

Models, datasets and Spaces enter through one address, are fetched once, verified, kept and served.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
