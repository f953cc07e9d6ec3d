"""How long a start on a kept home takes until the first answer, and a command until its end."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import gateway
from bench.processes import Program
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage

NAME = "start"
_START = Target("at most", 2.0, "value")
_COMMAND = Target("at most", 0.5, "value")
_TWO = "moongate, two workers"
_HELLO = "an aiohttp server"
_NOTHING = "python -c pass"
_HELP, _LIST = "moongate --help", "moongate token list"
_LONGEST_SECONDS = 30.0

_HELLO_CODE = """\
import socket
from aiohttp import web
async def hello(request): return web.Response(text="hello")
app = web.Application()
app.router.add_get("/healthz", hello)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(app, sock=listener, print=None)
"""


def measure(stage: Stage) -> Section:
    """Seconds and CPU until `/healthz` is answered, beside the least that an aiohttp server can do."""
    home = stage.folder / "kept"
    gateway.start(home, _UPSTREAM, "").stop()
    section = Section(
        NAME,
        "A start",
        "From `moongate serve` to the answer of `/healthz`, on a home that an earlier start made, with its "
        "defaults; beside it, in the same interpreter, a server of ten lines on the same HTTP library. "
        "Commands, from their start to their end, beside an interpreter that does nothing.",
    )
    python = sys.executable
    servers = {
        OURS: partial(_serve, home, 1),
        _TWO: partial(_serve, home, 2),
        _HELLO: partial(_hello, stage.folder / "hello.log"),
    }
    commands = {
        _HELP: [str(gateway.command()), "--help"],
        _LIST: [str(gateway.command()), "token", "list", "--home", str(home)],
        _NOTHING: [python, "-c", "pass"],
    }
    rounds = alternate(stage.plan.rounds, servers)
    for name in (OURS, _TWO):
        section.compare(f"{name}: first answer", "s", "seconds", rounds, name, _HELLO, _START)
        section.compare(f"{name}: CPU", "s", "cpu_seconds", rounds, name, _HELLO)
    log = stage.folder / "command.log"
    ended = alternate(stage.plan.rounds, {name: partial(_run, log, line) for name, line in commands.items()})
    section.compare(f"`{_HELP}`", "s", "seconds", ended, _HELP, _NOTHING, _COMMAND)
    section.compare(f"`{_LIST}`", "s", "seconds", ended, _LIST, _NOTHING)
    return section


_UPSTREAM = "http://127.0.0.1:9"
"""Nobody is there, and a start asks nobody."""


def _serve(home: Path, workers: int, _: int) -> Reading:
    begun = time.monotonic()
    served = gateway.start(home, _UPSTREAM, "", workers=workers)
    try:
        return _answered(served.program, served.port, begun)
    finally:
        served.stop()


def _hello(log: Path, _: int) -> Reading:
    begun = time.monotonic()
    program = Program("aiohttp", [sys.executable, "-c", _HELLO_CODE], log, read_output=True)
    try:
        return _answered(program, int(program.read_line(_LONGEST_SECONDS)), begun)
    finally:
        program.stop()


def _answered(program: Program, port: int, begun: float) -> Reading:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_SECONDS)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        return {"seconds": time.monotonic() - begun, "cpu_seconds": program.cpu_seconds()}
    finally:
        connection.close()


def _run(log: Path, command: Sequence[str], _: int) -> Reading:
    begun = time.monotonic()
    program = Program(command[0], command, log)
    program.wait()
    return {"seconds": time.monotonic() - begun}
