"""`serve`: the gateway on a port, until it is told to stop.

One process by default; with `workers`, `moongate.app.workers` runs several of these on one port. Ready means:
listening, and the one line a user needs is on stdout. Words go to stderr. SIGTERM or Ctrl-C drains: no new
connections, running responses finish (at most `drain_seconds`), exit code 0; a second Ctrl-C stops at once.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable

import structlog
import uvloop

from moongate.app.request_log import configure_logging
from moongate.app.settings import Settings, unknown_variables
from moongate.core.errors import MoongateError

_BACKLOG = 1024

log = structlog.get_logger("moongate.server")


class CannotListen(MoongateError):
    """The address or port cannot be had."""


def serve(settings: Settings) -> int:
    """Serves until told to stop. The exit code: 0 after a drain, 1 when it could not start."""
    configure_logging(settings.log_level, settings.log_format)
    for line in unknown_variables(os.environ):
        log.warning(line)
    try:
        if settings.workers > 1:
            from moongate.app.workers import serve_with_workers  # noqa: PLC0415 - one process needs none of it

            return serve_with_workers(settings)
        listener = listen(settings.host, settings.port)
        return run(settings, listener, lambda: announce(settings, listener))
    except MoongateError as error:
        print(f"moongate: {error.message}", file=sys.stderr)  # noqa: T201 - words to stderr
        return 1


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket. `shared` lets other processes of ours bind the same port (SO_REUSEPORT).

    Raises:
        CannotListen: the port is taken, the address is not ours, or we may not have it.
    """
    bare = host.strip("[]")
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise CannotListen(f"cannot listen on {host}: {error.strerror}") from None
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        if not shared:
            # a bound port may still be somebody's; listening tells
            listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(_why_not(host, port, error)) from None
    listener.setblocking(False)
    return listener


def run(settings: Settings, listener: socket.socket, ready: Callable[[], None], parent: int = -1) -> int:
    """Serves on this socket in this process. `ready` is called once requests are answered.

    parent: a descriptor that becomes readable when the process that watches over us is gone.
    """
    gc.disable()  # hardly anything that a start makes goes away again
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, listener, ready, parent))


def announce(settings: Settings, listener: socket.socket) -> None:
    """Prints the one line a user needs to stdout, and what is served to stderr."""
    url = settings.public_url or _own_url(settings.host, listener)
    sys.stdout.write(f"export HF_ENDPOINT={url}\n")
    sys.stdout.flush()
    upstream = "none, offline" if settings.offline else settings.upstream
    log.info("ready", upstream=upstream, home=str(settings.home), pid=os.getpid())


async def _serve(settings: Settings, listener: socket.socket, ready: Callable[[], None], parent: int) -> int:
    # Late, for its counters look at the environment when they are imported.
    from moongate.app.wiring.front import front_door  # noqa: PLC0415 - see above
    from moongate.app.wiring.gateway import build  # noqa: PLC0415 - see above

    stop = asyncio.Event()
    _on_signals(stop, parent)
    gateway = build(settings)
    try:
        front = front_door(gateway)
        try:
            await gateway.start()
            _quieten_collector()
            server = await asyncio.get_running_loop().create_server(
                front.server.accept, sock=listener, backlog=_BACKLOG
            )
            ready()
            await stop.wait()
            log.info("stopping; running responses may finish", seconds=settings.drain_seconds)
            server.close()
            await front.server.drain(settings.drain_seconds)
            return 0
        finally:
            front.close()
    finally:
        await gateway.close()


def _quieten_collector() -> None:
    """Requests leave hardly a cycle behind: what lives already is set aside, the rest looked at seldom."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def _on_signals(stop: asyncio.Event, parent: int) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)

    def orphaned() -> None:
        loop.remove_reader(parent)
        stop.set()

    if parent >= 0:
        loop.add_reader(parent, orphaned)


def _own_url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - told apart, not bound
    name = socket.gethostname() if everywhere else {"127.0.0.1": "localhost"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name and not name.startswith("[") else f"http://{name}:{port}"


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what listens there, or choose another with --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {port} on {host} needs more rights than this user has; choose one above 1023 with --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine"
    return f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
