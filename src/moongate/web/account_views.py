"""The values of the pages around coming in and going out, as their templates name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignInView:
    """The door. issuers: by what name one may sign in elsewhere, and where that begins.

    wrong: why the last try failed.
    """

    next: str
    issuers: Sequence[tuple[str, str]] = ()
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A command line that wants to act as somebody. csrf: the session's own word. wrong: as above."""

    user: str
    csrf: str
    code: str
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class SignOutView:
    """Whether to sign out. csrf: the session's own word."""

    user: str
    csrf: str


@dataclass(frozen=True, slots=True)
class MessageView:
    """One thing to say, with an icon, and where to go on."""

    words: str
    drawing: str
    link: tuple[str, str] = ("/", "Home")
