"""What every page shows around its own content, and what it is sent with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Theme = Literal["", "light", "dark"]
"""What a visitor chose; empty: as their system has it."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    # with `no-referrer` a browser would say `Origin: null` of our own forms
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("X-Frame-Options", "DENY"),
)
"""A page may load what this gateway itself sends, run no inline script or style, and be framed by nobody."""


@dataclass(frozen=True, slots=True)
class Section:
    """A place in the navigation."""

    key: str
    label: str
    href: str


SECTIONS: Final = (
    Section("models", "Models", "/models"),
    Section("datasets", "Datasets", "/datasets"),
    Section("spaces", "Spaces", "/spaces"),
)
"""What everybody finds in the navigation."""

SECURITY_SECTION: Final = Section("security", "Security", "/-/security")
"""What those find who approve or administrate, where a gateway judges what passes."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks: by what name, and how they came in.

    is_local: at this machine, without a token. signed_in: by a session, which can be ended.
    """

    name: str
    scope: str
    is_local: bool
    signed_in: bool

    @property
    def is_admin(self) -> bool:
        return self.scope == "admin"


@dataclass(frozen=True, slots=True)
class Frame:
    """The surroundings of one page.

    path: where the visitor is, to come back to. csrf: goes into every form. door_open: whether visitors
    without a token see anything.
    """

    visitor: Visitor
    theme: Theme
    csrf: str
    path: str
    sections: Sequence[Section] = SECTIONS
    section: str = ""
    notice: str = ""
