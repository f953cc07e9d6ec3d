"""A steady client of small answers: how long does each take while something else goes on?

    python -m bench.probe < job.json > latencies.json

It asks at fixed moments, whether or not the last answer was late, and times each answer from the moment it
was due: a server that stands still for a second cannot hide that by being asked less.
"""

from __future__ import annotations

import json
import sys
import time

from bench.reader import Answered, Connection

_EVERY_SECONDS = 0.005


def latencies(host: str, port: int, path: str, seconds: float) -> list[float]:
    """Seconds each answer took, counted from when it was due."""
    connection = Connection(host, port)
    connection.fetch(path)
    started = time.perf_counter()
    taken: list[float] = []
    for turn in range(int(seconds / _EVERY_SECONDS)):
        due = started + turn * _EVERY_SECONDS
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
            due = time.perf_counter()  # our own late waking is not the server's doing
        connection.fetch(path)
        taken.append(time.perf_counter() - due)
    return taken


def main() -> int:
    job = json.loads(sys.stdin.readline())
    try:
        found = latencies(job["host"], job["port"], job["path"], job["seconds"])
    except (OSError, Answered) as error:
        print(f"probe: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"latencies": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
