"""HEAD requests as fast as they are answered, over kept-alive HTTP/1.1 connections.

    python -m bench.heads < job.json > result.json

A client of our own because the usual ones cannot: wrk and h2load wait for the body that a HEAD does not have,
and ab speaks HTTP/1.0, which Hub clients do not. It does the least possible per answer, so that the server is
what limits it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from bench.reader import Answered
from bench.samples import percentile

_HEAD_BYTES = 64 << 10


def load(host: str, port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Requests and seconds taken, and percentiles of the answers in milliseconds.

    Raises:
        Answered: an answer was not 200, or came in pieces.
    """
    request = f"HEAD {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    poller = select.epoll()
    socks: dict[int, socket.socket] = {}
    asked_at: dict[int, float] = {}
    for _ in range(connections):
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        poller.register(sock.fileno(), select.EPOLLIN)
    clock = time.perf_counter
    started = clock()
    for number, sock in socks.items():
        sock.sendall(request)
        asked_at[number] = clock()
    taken: list[float] = []
    now = started
    while now - started < seconds:
        for number, _ in poller.poll():
            sock = socks[number]
            answer = sock.recv(_HEAD_BYTES)
            if answer[9:12] != b"200" or answer[-4:] != b"\r\n\r\n":
                raise Answered(f"HEAD {path}: {answer[:200]!r}")
            now = clock()
            taken.append(now - asked_at[number])
            asked_at[number] = now
            sock.send(request)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    ended = {name: percentile(taken, share) * 1e3 for name, share in shares.items()}
    return {"requests": len(taken), "seconds": now - started, **ended}


def main() -> int:
    job = json.loads(sys.stdin.readline())
    try:
        found = load(job["host"], job["port"], job["path"], job["connections"], job["seconds"])
    except (OSError, Answered) as error:
        print(f"heads: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
