"""What can be said about a feed beyond its kind and address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final
from urllib.parse import urlsplit

from moongate.core.errors import BadRequest
from moongate.core.feeds import FeedKind

MIB: Final = 1 << 20
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """
    key: where its secret is: `env:NAME` or `file:PATH`; the secret itself is kept nowhere.
    user: with it, the key is the password of HTTP Basic.
    header: the header that carries the key; empty: the kind's own.
    allowed_hosts: where redirects may lead, beside the feed's own host.
    every_seconds: how often it is fetched.
    stale_seconds: from which age on what it says is told as stale.
    confidence: of statements that name none.
    most_kept_percent: a fetch that newly calls more of what is kept dangerous waits for approval.
    per_minute, per_day: how often a service may be asked.
    min_score: threat lists: what scores less is left out.
    """

    key: str = ""
    user: str = ""
    header: str = ""
    allowed_hosts: tuple[str, ...] = ()
    every_seconds: float = 3600.0
    stale_seconds: float = 7 * _DAY
    confidence: int = 75
    max_bytes: int = 256 * MIB
    most_kept_percent: float = 5.0
    per_minute: int = 4
    per_day: int = 500
    min_score: int = 60

    @classmethod
    def of(cls, told: Mapping[str, object]) -> FeedOptions:
        """The options as the index keeps them.

        Raises:
            BadRequest: one is unknown or makes no sense.
        """
        known: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in told:
                known[field.name] = told[field.name]
        if unknown := set(told) - set(known):
            raise BadRequest(f"unknown option of a feed: {min(unknown)[:40]}")
        try:
            options = cls(**{**known, "allowed_hosts": tuple(known.get("allowed_hosts", ()))})
            options.check()
        except TypeError:
            raise BadRequest("an option of the feed is not of its type") from None
        return options

    def check(self) -> None:
        """Raises BadRequest when the values make no sense."""
        if not 0 <= self.confidence <= 100:
            raise BadRequest("a confidence is 0 to 100")
        if self.every_seconds < 60:
            raise BadRequest("a feed is fetched once a minute at most")
        if not 0 < self.most_kept_percent <= 100:
            raise BadRequest("most_kept_percent is more than 0 and at most 100")
        if self.key and not self.key.startswith(("env:", "file:")):
            raise BadRequest("a key is named env:NAME or file:PATH; it is not written down here")

    def as_json(self) -> dict[str, object]:
        """Only what differs from the defaults."""
        plain = asdict(FeedOptions())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}


def is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def check_url(kind: FeedKind, url: str) -> None:
    """
    Raises:
        BadRequest: it is no address that this kind can be fetched from.
    """
    if is_remote(url):
        parts = urlsplit(url)
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise BadRequest("expected http(s)://host/… without a user name; name its secret with --key")
        return
    if kind in ("taxii", "gti-list", "virustotal"):
        raise BadRequest(f"a feed of kind {kind} has an http:// or https:// address")
    if not url.startswith("/"):
        raise BadRequest("a feed on this machine is named by its absolute path")
