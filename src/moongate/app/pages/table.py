"""Every page of our own, with who may ask for it: put together here from what the gateway has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moongate.app.door import Door
from moongate.app.file_routes import FileRoutes
from moongate.app.pages import approvals as approval_pages
from moongate.app.pages import audit_pages, feed_pages, hook_pages, policy_pages, provenance_pages
from moongate.app.pages import recalls as recall_pages
from moongate.app.pages.account import AccountPages
from moongate.app.pages.approvals import APPROVALS_PATH, REQUEST_PATH, ApprovalPages
from moongate.app.pages.audit_pages import AUDIT_PATH, AuditPages
from moongate.app.pages.blob import BlobPages
from moongate.app.pages.browse import BrowsePages
from moongate.app.pages.feed_lines import feed_lines
from moongate.app.pages.feed_pages import FEEDS_PATH, FeedPages
from moongate.app.pages.forms import Forms
from moongate.app.pages.heads import PROVENANCE, SECURITY, Heads
from moongate.app.pages.home import HomePage
from moongate.app.pages.hook_pages import HOOKS_PATH, HookPages
from moongate.app.pages.live import Live
from moongate.app.pages.namespaces import NamespacePages
from moongate.app.pages.pages import HubPages, PageRow, Pages
from moongate.app.pages.policy_pages import POLICY_PATH, PolicyPages
from moongate.app.pages.provenance_pages import ProvenancePages
from moongate.app.pages.pulse import Pulse
from moongate.app.pages.recalls import RECALLS_PATH, TRACE_PATH, RecallPages
from moongate.app.pages.repo import RepoPages
from moongate.app.pages.security import (
    CONTENT_PATH,
    OVERVIEW,
    SECURITY_PATH,
    Place,
    SecurityPages,
    evidence_of,
)
from moongate.app.pages.shelf import Shelves
from moongate.app.pages.token_pages import TokenPages
from moongate.app.pages.tree import TreePages
from moongate.app.pages.visits import Visit

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


@dataclass(frozen=True, slots=True)
class PagesAndLive:
    """The pages, and what must be told when the gateway stops."""

    pages: Pages
    live: Live


def make_pages(gateway: Gateway, door: Door, files: FileRoutes, secret: bytes) -> PagesAndLive:
    """All pages of a gateway. secret: the home's."""
    forms = Forms(secret, door.base_url)
    desk, index = gateway.governing.desk, gateway.index
    pulse = Pulse(index, desk)
    approvals = ApprovalPages(desk, _places, lambda etag: evidence_of(index, etag))
    security = SecurityPages(gateway, approvals.holds, lambda: feed_lines(gateway), _places, pulse.stamp)
    policy = PolicyPages(gateway, gateway.governing, _places)
    audit = AuditPages(gateway.stock.audit_desk(), _places)
    recall = RecallPages(gateway.stock.recalling(), _places)
    shelves, live = Shelves(gateway), Live(gateway, pulse)
    heads = security.heads
    repo = RepoPages(gateway, heads)
    hub = HubPages(
        BrowsePages(gateway, shelves),
        repo,
        TreePages(gateway, heads, security.verdict_of),
        BlobPages(gateway, heads, repo.cards, files, door.base_url, security.evidence_of),
    )
    rows = (
        *_rows(gateway, door, shelves),
        *_guard_rows(security, approvals, policy),
        *_record_rows(audit, recall),
        *_feed_rows(FeedPages(gateway.index, gateway.feeds, _places)),
        *_hook_rows(HookPages(gateway.announcing.hooks, _places)),
        *_provenance_rows(gateway, heads),
    )
    return PagesAndLive(Pages(door, forms, rows, hub, live.stream, judges=True), live)


def _rows(gateway: Gateway, door: Door, shelves: Shelves) -> Sequence[PageRow]:
    issuer = gateway.settings.oidc_issuer
    account = AccountPages(gateway.identity.sessions, door, [issuer] if issuer else ())
    tokens = TokenPages(gateway)
    return (
        PageRow("GET", "/", "read", HomePage(gateway, door, shelves).show),
        PageRow("GET", "/-/sign-in", "public", account.sign_in_form),
        PageRow("POST", "/-/sign-in", "public", account.sign_in),
        PageRow("POST", "/-/sign-out", "public", account.sign_out),
        PageRow("POST", "/-/theme", "public", account.theme),
        PageRow("GET", "/-/tokens", "read", tokens.list),
        PageRow("POST", "/-/tokens", "read", tokens.make),
        PageRow("POST", "/-/tokens/revoke", "read", tokens.revoke),
        PageRow("GET", "/-/namespaces", "read", NamespacePages(gateway).show),
    )


def _guard_rows(security: SecurityPages, approvals: ApprovalPages, policy: PolicyPages) -> Sequence[PageRow]:
    return (
        PageRow("GET", SECURITY_PATH, "approve", security.dashboard),
        PageRow("GET", CONTENT_PATH, "read", security.content),
        PageRow("GET", SECURITY, "read", security.repo),
        PageRow("GET", APPROVALS_PATH, "approve", approvals.queue),
        PageRow("GET", REQUEST_PATH, "approve", approvals.request),
        PageRow("POST", f"{APPROVALS_PATH}/decide", "approve", approvals.decide),
        PageRow("POST", f"{APPROVALS_PATH}/revoke", "approve", approvals.revoke),
        PageRow("GET", POLICY_PATH, "admin", policy.show),
        PageRow("POST", POLICY_PATH, "admin", policy.attempt),
        PageRow("POST", f"{POLICY_PATH}/discard", "admin", policy.discard),
    )


def _record_rows(audit: AuditPages, recall: RecallPages) -> Sequence[PageRow]:
    return (
        PageRow("GET", AUDIT_PATH, "admin", audit.show),
        PageRow("GET", RECALLS_PATH, "admin", recall.list),
        PageRow("POST", RECALLS_PATH, "admin", recall.recall),
        PageRow("GET", TRACE_PATH, "admin", recall.trace),
        PageRow("POST", f"{RECALLS_PATH}/undo", "admin", recall.undo),
    )


def _feed_rows(feeds: FeedPages) -> Sequence[PageRow]:
    return (
        PageRow("GET", FEEDS_PATH, "admin", feeds.list),
        PageRow("POST", f"{FEEDS_PATH}/refresh", "admin", feeds.refresh),
        PageRow("POST", f"{FEEDS_PATH}/decide", "admin", feeds.decide),
    )


def _hook_rows(hooks: HookPages) -> Sequence[PageRow]:
    return (
        PageRow("GET", HOOKS_PATH, "admin", hooks.show),
        PageRow("POST", HOOKS_PATH, "admin", hooks.add),
        PageRow("POST", f"{HOOKS_PATH}/test", "admin", hooks.test),
        PageRow("POST", f"{HOOKS_PATH}/remove", "admin", hooks.remove),
    )


def _provenance_rows(gateway: Gateway, heads: Heads) -> Sequence[PageRow]:
    papers = ProvenancePages(gateway, heads)
    return (
        PageRow("GET", PROVENANCE, "read", papers.show),
        PageRow("GET", provenance_pages.PAPER, "read", papers.paper),
        PageRow("POST", provenance_pages.SIGN, "admin", papers.sign),
        PageRow("POST", provenance_pages.STATE, "admin", papers.state),
    )


def _places(visit: Visit) -> Sequence[Place]:
    """The pages of the security section that a visitor may open."""
    if not visit.is_admin:
        return (OVERVIEW, approval_pages.PLACE)
    return (
        OVERVIEW,
        approval_pages.PLACE,
        policy_pages.PLACE,
        feed_pages.PLACE,
        audit_pages.PLACE,
        recall_pages.PLACE,
        hook_pages.PLACE,
    )
