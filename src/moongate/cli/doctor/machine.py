"""Home, disk, port and door: what the gateway needs of this machine."""

from __future__ import annotations

import errno
import http.client
import json
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from moongate.cli.doctor.finding import Finding
from moongate.cli.terminal import count, size

_ROOMY_BYTES = 20 << 30


def check_folder(name: str, folder: Path, min_free_bytes: int) -> list[Finding]:
    """Whether a folder can be made or written, and what room its disk has."""
    existing = _nearest(folder)
    if not existing.is_dir():
        return [
            Finding(name, "failed", f"{existing} is not a folder", "move it away, or choose another --home")
        ]
    if not os.access(existing, os.W_OK | os.X_OK):
        who = "its owner" if existing == folder else f"the owner of {existing}"
        advice = f"run as {who}, or choose another folder with --home"
        return [Finding(name, "failed", f"{folder} cannot be written by this user", advice)]
    state = "is there and can be written" if existing == folder else "is made at the first start"
    return [Finding(name, "ok", f"{folder} {state}"), _room(folder, existing, min_free_bytes)]


def check_git(path: str | None = None) -> list[Finding]:
    """Whether hosted repositories can be cloned and pushed; git is looked for in `path` (default: PATH)."""
    if shutil.which("git", path=path):
        return []
    words = "git is not installed: hosted repositories can be used by the API, and not be cloned or pushed"
    return [Finding("git", "note", words, "install git")]


def check_policy(source: str) -> Finding:
    """Whether the rules can be read, and do what their own tests say."""
    from moongate.policy.cases import run_tests
    from moongate.policy.loading import load
    from moongate.policy.yaml_lines import BadPolicy

    try:
        loaded = load(source)
    except BadPolicy as error:
        first, *more = error.message.splitlines()
        words = first + (f" (and {len(more)} more)" if more else "")
        return Finding("policy", "failed", words, "`moongate policy check` shows everything that is wrong")
    wrong = [outcome for outcome in run_tests(loaded, time.time()) if not outcome.passed]
    if wrong:
        words = f"{count(len(wrong), 'test')} of the policy fails: {wrong[0].place}: {wrong[0].why}"
        return Finding("policy", "warning", words, "`moongate policy test` shows which")
    return Finding("policy", "ok", f"{source}: {count(len(loaded.rules.rules), 'rule')}")


def check_port(host: str, port: int, timeout_seconds: float = 3.0) -> Finding:
    """Whether the port is free, ours already, or somebody else's."""
    try:
        with _listening_socket(host, port):
            return Finding("port", "ok", f"{host}:{port} is free" if port else "a free port is taken")
    except socket.gaierror:
        return Finding("port", "failed", f"{host} is no address here", "choose another --host")
    except OSError as error:
        if error.errno == errno.EACCES:
            return Finding(
                "port",
                "failed",
                f"this user may not listen on port {port}",
                "choose a port above 1023 with --port",
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return Finding(
                "port",
                "failed",
                f"{host} is not an address of this machine",
                "choose another --host; 0.0.0.0 means all",
            )
        if error.errno != errno.EADDRINUSE:
            return Finding("port", "failed", f"{host}:{port} cannot be used: {error.strerror}")
    seen = look_at(_reachable(host), port, timeout_seconds)
    if seen.is_moongate:
        return Finding("port", "ok" if seen.alive else "warning", f"a gateway is at {host}:{port} already")
    return Finding(
        "port",
        "failed",
        f"{host}:{port} is taken by another program",
        f"stop it (`ss -ltnp 'sport = :{port}'` names it), or choose another --port",
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What answers on a port."""

    alive: bool
    is_moongate: bool


def look_at(host: str, port: int, timeout_seconds: float) -> Seen:
    """Ask whoever listens there whether it is a gateway and alive."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = answer.read(4096)
    except (OSError, http.client.HTTPException):
        return Seen(alive=False, is_moongate=False)
    finally:
        connection.close()
    named = "moongate" in (answer.getheader("Server") or "").lower()
    return Seen(alive=answer.status == 200, is_moongate=named or answers_like_us(body))


def answers_like_us(body: bytes) -> bool:
    """Whether a health answer is a gateway's."""
    try:
        answer = json.loads(body)
    except ValueError:
        return b"moongate" in body.lower()
    return isinstance(answer, dict) and ("moongate" in answer or answer.get("name") == "moongate")


def check_door(
    *, loopback: bool, allow_anonymous: bool, has_token: bool, host: str, public_url: str | None = None
) -> Finding:
    """Who may come in, and whether the gateway will start like this."""
    if loopback and public_url is not None and not allow_anonymous:
        return Finding(
            "door",
            "warning",
            f"on {host} everybody may read without a token, and so may who comes by {public_url}",
            "listen on another address of this machine (--host), which wants tokens; or set allow_anonymous",
        )
    if loopback:
        return Finding("door", "ok", f"open to this machine only ({host})")
    if has_token and not allow_anonymous:
        return Finding("door", "ok", f"{host} can be reached from outside; callers need a token")
    if allow_anonymous:
        return Finding(
            "door",
            "warning",
            f"{host} can be reached from outside, and everybody may come in",
            "take --allow-anonymous away once `moongate token create` has made tokens",
        )
    return Finding(
        "door",
        "failed",
        f"{host} can be reached from outside, and there is no token yet",
        "`moongate token create --user NAME` makes one; or start with --allow-anonymous",
    )


def _room(folder: Path, existing: Path, min_free_bytes: int) -> Finding:
    free_bytes = shutil.disk_usage(existing).free
    words = f"{size(free_bytes)} free for {folder}"
    if free_bytes <= min_free_bytes:
        return Finding(
            "disk",
            "failed",
            f"{words}; the gateway leaves {size(min_free_bytes)} free, so nothing more is kept",
            "free some (`moongate gc`, `moongate du`), or lower MOONGATE_MIN_FREE_BYTES",
        )
    if free_bytes <= _ROOMY_BYTES:
        return Finding(
            "disk",
            "warning",
            f"{words}, less than some models take",
            "put the store on a larger disk with --store, or set MOONGATE_QUOTA_BYTES",
        )
    return Finding("disk", "ok", words)


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _listening_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (asked, not listened on)
