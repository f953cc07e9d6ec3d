"""`moongate settings` and `moongate version`: what is set, and what this is."""

from __future__ import annotations

import os
import platform
import sys
from typing import Annotated

import typer

from moongate import __version__
from moongate.cli import options
from moongate.cli.terminal import Column, put, put_json, put_table, say


def register(app: typer.Typer) -> None:
    app.command("settings")(settings)
    app.command("version")(version)


def settings(
    home: options.Home = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the default.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print every setting, and its value now.

    Also its default, its unit and what it means; secrets are stars. A flag wins over MOONGATE_<NAME>,
    that over moongate.toml in the working directory, that over moongate.toml in the home.

    \b
    Examples:
      moongate settings
      moongate settings --changed
      moongate settings --json | jq .port.value
    """
    from moongate.app.settings import setting_rows, unknown_variables
    from moongate.cli.house import load_settings

    loaded = load_settings(home=home)
    values = loaded.printable()
    usual = type(loaded).model_construct().printable()
    rows = [row for row in setting_rows() if not changed or _differs(values[row.name], usual[row.name])]
    for line in unknown_variables(os.environ):
        say(f"warning: {line}")
    if as_json:
        put_json(
            {
                row.name: {
                    "value": values[row.name],
                    "default": usual[row.name],
                    "unit": row.unit or None,
                    "variable": row.variable,
                    "help": row.help,
                }
                for row in rows
            }
        )
        return
    columns = [Column("setting"), Column("value"), Column("default"), Column("unit"), Column("meaning")]
    put_table(
        columns,
        [[row.name, _shown(values[row.name]), _shown(usual[row.name]), row.unit, row.help] for row in rows],
    )


def version(as_json: options.Json = False) -> None:
    """Print the version of Moongate.

    \b
    Examples:
      moongate version
      moongate version --json
    """
    facts = {"moongate": __version__, "python": platform.python_version(), "system": platform.platform()}
    if as_json:
        put_json({**facts, "executable": sys.executable})
    else:
        put(f"moongate {facts['moongate']} (Python {facts['python']}, {facts['system']})")


def _differs(value: object, usual: object) -> bool:
    return value != (os.path.expanduser(usual) if isinstance(usual, str) else usual)  # noqa: PTH111  (a text)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    return str(value)
