"""`moongate`: the table of commands, and what becomes of every error.

A user sees one clear line and a hint, never a trace; `--debug`, anywhere on the line, shows the trace too.
Exit codes are those of `exits`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Annotated

import typer

from moongate import __version__
from moongate.cli import exits
from moongate.cli.terminal import say
from moongate.core.errors import MoongateError

ROOMS = {
    "serve": ("serve",),
    "pull": ("pull",),
    "shelf": ("ls", "du"),
    "show": ("show",),
    "removal": ("rm",),
    "pins": ("pin", "unpin"),
    "upkeep": ("verify", "gc"),
    "bundle": ("export", "import"),
    "tokens": ("token",),
    "grants": ("grant",),
    "access": ("access", "team"),
    "people": ("role", "service-account", "user", "group"),
    "trusts": ("trust",),
    "namespaces": ("namespace",),
    "scan": ("scan",),
    "feed": ("feed",),
    "policy": ("policy",),
    "approve": ("approve",),
    "waivers": ("waiver",),
    "webhooks": ("webhook",),
    "provenance": ("sign", "verify-signature", "provenance", "bom"),
    "audit": ("audit",),
    "recall": ("recall",),
    "doctor": ("doctor",),
    "demo": ("demo",),
    "about": ("settings", "version"),
}
"""The files of this folder that have commands, and which; in the order of the help."""

_DEBUG = "--debug"


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"moongate {__version__}")  # noqa: T201
        raise typer.Exit


def _moongate(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the trace of an error.")] = False,
) -> None:
    del version, debug  # handled before any command runs


def table(rooms: Collection[str] = tuple(ROOMS)) -> typer.Typer:
    """The commands of these rooms, imported now; all of them by default."""
    app = typer.Typer(
        name="moongate",
        help="The open-model gateway: models, datasets and Spaces fetched once, verified, kept, and served.",
        epilog="`moongate COMMAND --help` shows examples. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "3 refused by policy, 4 upstream unreachable.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_moongate)
    for room in rooms:
        import_module(f"moongate.cli.{room}").register(app)
    return app


def main() -> None:
    """The console script."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """One command line, without the program's name; returns its exit code and never raises an error."""
    words = list(arguments)
    debug = _DEBUG in _before_separator(words)
    if debug:
        words.remove(_DEBUG)
    try:
        app = table(_rooms_for(words))
        result = app(words or ["--help"], prog_name="moongate", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  (the one place where every error becomes words)
        if debug and not isinstance(error, typer.TyperException | BrokenPipeError):
            traceback.print_exc()
        return _explain(error)
    except KeyboardInterrupt:
        result = exits.INTERRUPTED
    if result == exits.INTERRUPTED:
        say("interrupted")
    return result if isinstance(result, int) else exits.DONE


def _rooms_for(words: Sequence[str]) -> Collection[str]:
    """The room of the command that is called: the others need not be imported. Without one, all of them."""
    called = next((word for word in words if not word.startswith("-")), None)
    return [room for room, commands in ROOMS.items() if called in commands] or tuple(ROOMS)


def _explain(error: Exception) -> int:
    match error:
        case BrokenPipeError():
            _forget_stdout()
            return exits.FAILED
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "moongate"
            return _tell(error.format_message(), f"`{command} --help` shows how", exits.USAGE)
        case typer.Abort():
            return _tell("stopped", None, exits.FAILED)
        case exits.CommandFailed():
            return _tell(error.message, error.hint, error.exit_code)
        case MoongateError():
            return _tell(error.message, exits.hint_of(error), exits.exit_code_of(error))
        case OSError() if error.strerror:
            where = f": {error.filename}" if error.filename else ""
            return _tell(f"{error.strerror}{where}", None, exits.FAILED)
        case _:
            words = f"this is a bug in Moongate {__version__}: {type(error).__name__}: {_first_line(error)}"
            hint = "run it again with --debug and report what it prints, with the output of `moongate doctor`"
            return _tell(words, hint, exits.FAILED)


def _tell(message: str, hint: str | None, exit_code: int) -> int:
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")
    return exit_code


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no words"])[0][:200]


def _before_separator(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def _forget_stdout() -> None:
    """Whoever read our output has left; the interpreter must not try to flush to them at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
