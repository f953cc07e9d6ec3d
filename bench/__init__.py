"""Ratios beside nginx and Olah, measured in one run on one machine: `make bench`.

Rules:

- A contender is never compared with yesterday: every figure is a ratio of two measured alternately, A B A B,
  in this run. A round gives one ratio; the table shows the median of the rounds and the least and greatest.
- The gateway is the real `moongate serve` in its own process; nginx, Olah, upstream and clients have theirs.
- CPU is what the server's whole process tree used, user and system, workers and children included.
- Clients are the same program with the same pinning for both contenders, and cost little.
- What could not be measured is said in the table, with what happened. Nothing here is a test: no figure
  fails a build.
"""

from __future__ import annotations
