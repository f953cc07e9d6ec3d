"""What the admin API says and takes about feeds of threat intelligence."""

from __future__ import annotations

from pydantic import Field

from moongate.app.admin.models import Model


class Feed(Model):
    """A feed. Its secret is named by `options`, and kept nowhere."""

    name: str
    kind: str
    url: str
    options: dict[str, object]
    fetched_at: float | None = Field(description="when its content was last known to be current")
    age_seconds: float | None
    stale: bool
    trouble: str
    held: str = Field(description="why a fetch waits for approval; empty: nothing waits")
    indicators: int
    advisories: int
    rules: int


class Feeds(Model):
    version: str
    feeds: list[Feed]


class FeedName(Model):
    name: str = Field(min_length=1, max_length=64)


class Refreshed(Model):
    """`how`: same, changed, held, failed or busy."""

    feed: str
    how: str
    why: str = ""
    indicators: int = 0
    advisories: int = 0
    rules: int = 0


class Checked(Model):
    """What threat intelligence says of one subject, as findings."""

    subject: str
    findings: list[dict[str, object]]


class Hunted(Model):
    """Kept content that threat intelligence knows, by etag."""

    kept: dict[str, list[dict[str, object]]]
