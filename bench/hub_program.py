"""The Hub double in a process of its own, told what to do by lines of JSON on standard input.

    python -m bench.hub_program STATE_DIR

It says where it is, then answers each line with one: `{"do": "add", "repo", "files": {path: {"at", "sha256"}
or {"text"}}, "xet"}` gives the commit (with `xet`, once its large files are packed); `cdn` points signed
addresses to another origin (`url`; empty for its own); `throttle` limits every CDN connection
(`bytes_per_second`), or all `together`; `latency` delays every answer (`seconds`); `calm` lifts both; `sent`
gives the bytes sent for an `etag`, or all of them; `asked` the number of requests whose path fits a glob.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from moongate.double import HubDouble, Latency, LfsFile, Match, Throttle


class _Desk:
    """One double, and the orders it takes."""

    def __init__(self, double: HubDouble) -> None:
        self._double = double
        self._own_cdn_url = double.cdn_url

    def take(self, order: dict[str, Any]) -> object:  # a JSON edge
        """The answer to one order."""
        match order["do"]:
            case "add":
                return self._added(order["repo"], order["files"], xet=order["xet"])
            case "cdn":
                self._double.world.cdn_url = order["url"] or self._own_cdn_url
            case "throttle":
                limit, together = order["bytes_per_second"], order["together"]
                self._double.fault(Throttle(limit, together, match=Match(origin="cdn")))
            case "latency":
                self._double.fault(Latency(order["seconds"]))
            case "calm":
                self._double.faults.clear()
            case "sent":
                return self._double.meters.bytes_sent(etag=order["etag"])
            case "asked":
                return len(self._double.meters.requests(order["path"]))
            case unknown:
                raise ValueError(f"no such order: {unknown}")
        return None

    def _added(self, repo: str, told: dict[str, dict[str, str]], *, xet: bool) -> str:
        files = {path: _file(facts) for path, facts in told.items()}
        commit = self._double.add_repo(repo, xet=xet).commit(files)
        for path, file in files.items():
            if xet and isinstance(file, LfsFile):
                self._double.xet_file(repo, path)
        return commit


def _file(facts: dict[str, str]) -> bytes | LfsFile:
    return facts["text"].encode() if "text" in facts else LfsFile(facts["at"], sha256=facts["sha256"])


def main() -> int:
    double = HubDouble(sys.argv[1])
    with double.running() as url:
        desk = _Desk(double)
        print(json.dumps({"url": url, "cdn_url": double.cdn_url, "cas_url": double.cas_url}), flush=True)
        for line in sys.stdin:
            print(json.dumps({"answer": desk.take(json.loads(line))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
