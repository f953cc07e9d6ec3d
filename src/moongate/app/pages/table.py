"""Every page of our own, with who may ask for it: put together here from what the gateway has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moongate.app.door import Door
from moongate.app.file_routes import FileRoutes
from moongate.app.pages.account import AccountPages
from moongate.app.pages.blob import BlobPages
from moongate.app.pages.browse import BrowsePages
from moongate.app.pages.forms import Forms
from moongate.app.pages.heads import SECURITY
from moongate.app.pages.home import HomePage
from moongate.app.pages.live import Live
from moongate.app.pages.namespaces import NamespacePages
from moongate.app.pages.pages import HubPages, PageRow, Pages
from moongate.app.pages.repo import RepoPages
from moongate.app.pages.security import CONTENT_PATH, SECURITY_PATH, SecurityPages
from moongate.app.pages.shelf import Shelves
from moongate.app.pages.token_pages import TokenPages
from moongate.app.pages.tree import TreePages

if TYPE_CHECKING:
    from moongate.app.wiring import Gateway


@dataclass(frozen=True, slots=True)
class PagesAndLive:
    """The pages, and what must be told when the gateway stops."""

    pages: Pages
    live: Live


def make_pages(gateway: Gateway, door: Door, files: FileRoutes, secret: bytes) -> PagesAndLive:
    """All pages of a gateway. secret: the home's."""
    forms = Forms(secret, door.base_url)
    security, shelves, live = SecurityPages(gateway), Shelves(gateway), Live(gateway)
    heads = security.heads
    repo = RepoPages(gateway, heads)
    hub = HubPages(
        BrowsePages(gateway, shelves),
        repo,
        TreePages(gateway, heads, security.verdict_of),
        BlobPages(gateway, heads, repo.cards, files, door.base_url, security.evidence_of),
    )
    return PagesAndLive(Pages(door, forms, _rows(gateway, door, shelves, security), hub, live.stream), live)


def _rows(gateway: Gateway, door: Door, shelves: Shelves, security: SecurityPages) -> Sequence[PageRow]:
    account, tokens = AccountPages(gateway.identity.sessions, door), TokenPages(gateway)
    return (
        PageRow("GET", "/", "read", HomePage(gateway, door, shelves).show),
        PageRow("GET", "/-/sign-in", "public", account.sign_in_form),
        PageRow("POST", "/-/sign-in", "public", account.sign_in),
        PageRow("POST", "/-/sign-out", "public", account.sign_out),
        PageRow("POST", "/-/theme", "public", account.theme),
        PageRow("GET", "/-/tokens", "read", tokens.list),
        PageRow("POST", "/-/tokens", "read", tokens.make),
        PageRow("POST", "/-/tokens/revoke", "read", tokens.revoke),
        PageRow("GET", SECURITY_PATH, "approve", security.dashboard),
        PageRow("GET", CONTENT_PATH, "read", security.content),
        PageRow("GET", SECURITY, "read", security.repo),
        PageRow("GET", "/-/namespaces", "read", NamespacePages(gateway).show),
    )
