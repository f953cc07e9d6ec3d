"""`moongate`: the table of commands, and what becomes of every error.

A user sees one clear line and a hint, never a trace; `--debug`, anywhere on the line, shows the trace too.
Exit codes are those of `exits`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from moongate import __version__
from moongate.cli import (
    about,
    access,
    approve,
    audit,
    bundle,
    demo,
    doctor,
    exits,
    feed,
    grants,
    namespaces,
    people,
    pins,
    policy,
    provenance,
    pull,
    recall,
    removal,
    scan,
    serve,
    shelf,
    show,
    tokens,
    trusts,
    upkeep,
    waivers,
    webhooks,
)
from moongate.cli.terminal import say
from moongate.core.errors import MoongateError

_DEBUG = "--debug"

app = typer.Typer(
    name="moongate",
    help="The open-model gateway: models, datasets and Spaces fetched once, verified, kept, and served.",
    epilog="`moongate COMMAND --help` shows examples. Exit codes: 0 done, 1 failed, 2 wrong usage, "
    "3 refused by policy, 4 upstream unreachable.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"moongate {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _moongate(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the trace of an error.")] = False,
) -> None:
    del version, debug  # handled before any command runs


serve.register(app)
pull.register(app)
shelf.register(app)
show.register(app)
removal.register(app)
pins.register(app)
upkeep.register(app)
bundle.register(app)
tokens.register(app)
grants.register(app)
access.register(app)
people.register(app)
trusts.register(app)
namespaces.register(app)
scan.register(app)
feed.register(app)
policy.register(app)
approve.register(app)
waivers.register(app)
webhooks.register(app)
provenance.register(app)
audit.register(app)
recall.register(app)
doctor.register(app)
demo.register(app)
about.register(app)


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
