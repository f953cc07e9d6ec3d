"""The measurements, one per file: each takes the stage and fills a section of the table."""

from __future__ import annotations
