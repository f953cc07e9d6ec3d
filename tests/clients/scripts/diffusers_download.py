"""A pipeline's files, chosen as diffusers chooses them."""

from __future__ import annotations

from diffusers import DiffusionPipeline
from plain import PLAN, contents, outcome, tell

tell(
    {name: outcome(lambda a=asked: contents(DiffusionPipeline.download(**a))) for name, asked in PLAN.items()}
)
