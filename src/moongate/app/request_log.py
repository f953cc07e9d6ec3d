"""One line per request, and the shape of every other line.

Lines of requests are gathered and written a few times a second, so that a line costs microseconds. A line
never holds a query, a header or a token; who asked is a name or a fingerprint.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from operator import is_not
from typing import Literal

import orjson

from moongate.app.exchange import Record
from moongate.core.redaction import redacted
from moongate.wire.lfs import UPLOADS_PREFIX

LogFormat = Literal["json", "text"]

FLUSH_SECONDS = 0.2
_FLUSH_LINES = 512
_STDERR = 2
_TOKEN_IN_PATH = re.compile(r"hf_[A-Za-z0-9]{24,}")


class RequestLog:
    """Writes a line per finished exchange to a descriptor (standard error by default).

    The last lines are written by `flush`, which `close` calls; a crash loses at most `FLUSH_SECONDS` of them.
    """

    def __init__(self, shape: LogFormat, *, enabled: bool = True, descriptor: int = _STDERR) -> None:
        self.enabled = enabled
        self._render = _JsonLines() if shape == "json" else _text_line
        self._descriptor = descriptor
        self._pending: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stamp: tuple[int, str] = (0, "")
        self.tell: Callable[[Record], None] | None = None
        """Told of every finished exchange, whether a line is written or not."""

    def write(self, exchange: Record, seconds: float, ended_at: float | None = None) -> None:
        """Notes an exchange that finished now, or at a time a moment ago."""
        if self.tell is not None:
            self.tell(exchange)
        if not self.enabled:
            return
        now = time.time() if ended_at is None else ended_at
        second = int(now)
        if self._stamp[0] != second:
            self._stamp = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        stamp = f"{self._stamp[1]}.{int((now - second) * 1000):03d}Z"
        self._pending.append(self._render(exchange, seconds, stamp))
        if len(self._pending) >= _FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what is gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                time.sleep(0.001)
            except OSError as error:
                # Nobody reads our standard error any more, or its disk is full for a while; serving goes on.
                self.enabled = error.errno == errno.ENOSPC
                return

    def close(self) -> None:
        self.flush()


def who(exchange: Record) -> str:
    """Who asked, fit for a log: a user, a fingerprint's beginning, or `anonymous`."""
    caller = exchange.caller
    if caller.credential is not None:
        return f"upstream:{caller.credential.fingerprint[:12]}"
    return caller.user


class _Lines:
    """Where structlog's lines go: to what is standard error then. A line that cannot be written is lost.

    A full disk behind standard error, or nobody reading it, must not break what had something to say.
    """

    def __init__(self, *_names: object) -> None: ...

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def _shown_path(path: str) -> str:
    """A path as it is logged: not too long, without a permission or a token that somebody pasted into it."""
    if path.startswith(UPLOADS_PREFIX):
        return f"{UPLOADS_PREFIX}•••"
    shown = path[:512]
    return _TOKEN_IN_PATH.sub("•••", shown) if "hf_" in shown else shown


def configure_logging(level: str, shape: LogFormat) -> None:
    """Sends structlog's and the standard library's lines to stderr in one shape, tokens redacted."""
    import structlog  # noqa: PLC0415 - only a server needs it

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if shape == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False,
            timestamp_key="time",
            sort_keys=False,
            # the rich one shows local variables, tokens among them
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(getattr(logging, level.upper()), logging.WARNING))


def _redact(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redacted(value)
    return event


class _JsonLines:
    """Makes lines of JSON. What a line has in common with the one before, a client's last range, is kept."""

    def __init__(self) -> None:
        self._of: tuple[tuple[object, ...], tuple[object, ...]] | None = None
        self._common = b""

    def __call__(self, exchange: Record, seconds: float, stamp: str) -> bytes:
        asked = exchange.path, exchange.repo, exchange.caller, exchange.peer
        told = exchange.method, exchange.route, exchange.outcome, exchange.status
        before = self._of
        # the same objects, not equal ones: those would take longer to compare than to show
        if before is None or before[1] != told or any(map(is_not, before[0], asked)):
            self._of, self._common = (asked, told), _common(exchange)
        line = b'{"time":"%b","event":"request","id":"%b",%b,"bytes":%d,"seconds":%.6f%b}\n'
        mark, more = exchange.request_id.encode(), b""
        if exchange.error or exchange.trace:
            more = _more(exchange)
        return line % (stamp.encode(), mark, self._common, exchange.sent_bytes, seconds, more)


def _common(exchange: Record) -> bytes:
    return _fields(
        {
            "who": who(exchange),
            "peer": exchange.peer,
            "method": exchange.method,
            "route": exchange.route,
            "repo": str(exchange.repo) if exchange.repo is not None else None,
            "path": _shown_path(exchange.path),
            "outcome": exchange.outcome,
            "status": exchange.status,
        }
    )


def _more(exchange: Record) -> bytes:
    more: dict[str, str | int | None] = {"error": redacted(exchange.error)} if exchange.error else {}
    if exchange.trace:
        more["trace"] = exchange.trace[:128]
    return b"," + _fields(more)


def _fields(values: Mapping[str, str | int | None]) -> bytes:
    """The inside of a JSON object; bytes of a client's that are no text are shown as escapes."""
    try:
        return orjson.dumps(values)[1:-1]
    except TypeError:
        shown = {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for name, value in values.items()
        }
        return orjson.dumps(shown)[1:-1]


def _text_line(exchange: Record, seconds: float, stamp: str) -> bytes:
    error = f" error={redacted(exchange.error)!r}" if exchange.error else ""
    path = _shown_path(exchange.path)
    if not path.isprintable():
        path = ascii(path)
    return (
        f"{stamp} {exchange.status or '---'} {exchange.outcome or '-':5} {exchange.method} {path} "
        f"{exchange.sent_bytes}B {seconds * 1000:.1f}ms who={who(exchange)} id={exchange.request_id}{error}\n"
    ).encode("utf-8", "backslashreplace")
