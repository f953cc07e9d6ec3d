"""The double as a process: `python -m moongate.double --root DIR [--port P] [--cdn-port Q]`.

Prints one JSON line with its addresses when it is ready; ends on SIGTERM or Ctrl-C with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import orjson

from moongate.double.double import HubDouble
from moongate.double.layout import LayoutError, load


def main() -> int:
    """Run until told to stop; the exit code."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="hub-double-") as scratch:
        double = HubDouble(
            asked.state or scratch,
            host=asked.host,
            port=asked.port,
            cdn_port=asked.cdn_port,
            cas_port=asked.cas_port,
            control_port=asked.control_port,
            **({"cdn_host": asked.cdn_host} if asked.cdn_host else {}),
            **({"cas_host": asked.cas_host} if asked.cas_host else {}),
        )
        try:
            repos = load(double, asked.root, asked.lfs_threshold)
            asyncio.run(_serve(double, [repo.key for repo in repos]))
        except (LayoutError, OSError) as error:
            sys.stderr.write(f"hub double: {error}\n")
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m moongate.double", description="A small Hub on loopback.")
    parser.add_argument("--root", type=Path, required=True, help="directory with models/, datasets/, spaces/")
    parser.add_argument("--host", default="127.0.0.1", help="address of the hub and control origins")
    parser.add_argument("--port", type=int, default=0, help="port of the hub; 0 chooses one")
    parser.add_argument("--cdn-host", default="", help="address of the CDN origin")
    parser.add_argument("--cdn-port", type=int, default=0, help="port of the CDN; 0 chooses one")
    parser.add_argument("--cas-host", default="", help="address of the CAS origin")
    parser.add_argument("--cas-port", type=int, default=0, help="port of the CAS; 0 chooses one")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control door; 0 chooses one")
    parser.add_argument("--state", type=Path, help="directory for uploads, bare repositories and digests")
    parser.add_argument(
        "--lfs-threshold", type=int, default=1 << 20, help="bytes from which files are in LFS"
    )
    return parser.parse_args()


async def _serve(double: HubDouble, repos: list[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await double.open()
    ready = {"hub": double.url, "cdn": double.cdn_url, "cas": double.cas_url, "control": double.control_url}
    sys.stdout.write(orjson.dumps(ready | {"repos": repos}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    await double.close()


if __name__ == "__main__":
    raise SystemExit(main())
