"""What whoever judges content asks of threat intelligence. The app binds what answers.

`known` reads what feeds said before and is fit for an event loop; `ask` may also ask a service over the
network. Both only ever add suspicion: nothing that a feed says makes content clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from moongate.core.names import RepoId
from moongate.core.verdicts import Finding


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about; whatever is not known stays None.

    hosted: it lives here. Then not even its hash is told to anybody.
    security_status: `securityFileStatus` as upstream's listing gave it, unread.
    """

    sha256: str | None = None
    md5: str | None = None
    repo: RepoId | None = None
    hosted: bool = False
    security_status: object = None


class Intelligence(Protocol):
    """Threat intelligence, whatever its sources."""

    def feeds_version(self) -> str:
        """Changes when a feed says something new: verdicts judged under another one want another look.

        A point read.
        """

    def oldest_age_seconds(self) -> float | None:
        """How long ago the feed that waits longest was last current; None: there is none. A point read."""

    def known(self, subject: Subject) -> tuple[Finding, ...]:
        """What feeds and earlier answers say of it. Point reads."""

    def has_services(self) -> bool:
        """Whether anything is configured that `ask` would ask. A point read, remembered for a moment."""

    async def ask(self, subject: Subject) -> tuple[Finding, ...]:
        """As `known`, after asking the services that are configured, within their quotas.

        Never raises for what a service does: one that cannot be asked says nothing now.
        """

    def packages(self, requirements: str) -> tuple[Finding, ...]:
        """What advisories say of the packages that a requirements.txt wants. May take milliseconds."""

    def kept_and_known(self) -> Mapping[str, tuple[Finding, ...]]:
        """Everything kept here that feeds know by its bytes or repository, by etag. A walk: in a thread."""


class NoIntelligence:
    """Knows nothing."""

    def feeds_version(self) -> str:
        return ""

    def oldest_age_seconds(self) -> float | None:
        return None

    def known(self, subject: Subject) -> tuple[Finding, ...]:
        return ()

    def has_services(self) -> bool:
        return False

    async def ask(self, subject: Subject) -> tuple[Finding, ...]:
        return ()

    def packages(self, requirements: str) -> tuple[Finding, ...]:
        return ()

    def kept_and_known(self) -> Mapping[str, tuple[Finding, ...]]:
        return {}
