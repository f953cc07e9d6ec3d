"""What several test rooms share: a gateway process, a furnished Hub double, real clients, raw HTTP."""

from __future__ import annotations
