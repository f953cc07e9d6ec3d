"""The store and the index of a home, opened for one command.

Another process may have the same home open, a running gateway for instance: the index and the store are
made for that, and nothing here takes them for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moongate.cli.exits import CommandFailed, wrong_usage

if TYPE_CHECKING:
    from pathlib import Path

    from moongate.app.settings import Settings
    from moongate.app.wiring.stock import Stock


def load_settings(**flags: object) -> Settings:
    """The settings these flags, the environment and the files give; None means a flag was not given.

    Raises:
        CommandFailed: a setting is unknown or makes no sense (wrong usage).
    """
    from moongate.app.settings import BadSettings, Settings

    try:
        return Settings.load(**flags)
    except BadSettings as error:
        raise wrong_usage(error.message, hint="`moongate settings` shows what can be set") from None


@contextmanager
def open_house(settings: Settings) -> Iterator[Stock]:
    """The store and the index; made when they are not there yet.

    Raises:
        StoreError: they cannot be made or opened.
    """
    from moongate.app.wiring.stock import open_store

    stock = open_store(settings)
    try:
        yield stock
    finally:
        stock.close()


@contextmanager
def open_home(home: Path | None) -> Iterator[Stock]:
    """`open_house` for a command that looks at, or takes from, a home that must be there already.

    Raises:
        CommandFailed: there is no such home.
        StoreError: it cannot be opened.
    """
    settings = load_settings(home=home)
    if settings.database is None and not settings.home.is_dir():
        raise CommandFailed(
            f"there is no home at {settings.home} yet",
            hint="`moongate serve` and `moongate pull` make one; --home or MOONGATE_HOME names another",
        )
    with open_house(settings) as stock:
        yield stock
