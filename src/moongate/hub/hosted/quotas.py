"""How much a namespace may hold: bytes and repositories.

Bytes are those of every content that its repositories list in any revision, each content once; what it has
already costs nothing again. A refusal comes as early as it can be sure:

    before a repository is made                  repositories
    preupload (lengths only)                     what is surely new, because nothing of that length is there
    LFS batch (hashes)                           what is new
    the commit or push                           what is new; the last word

Two commits at once may together go over by what the slower one brings; the next one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, QuotaExceeded
from moongate.core.sizes import shown_size
from moongate.store.index import Index, NamespaceRow

QUOTA_BYTES: Final = "quota_bytes"
QUOTA_REPOS: Final = "quota_repos"
KEEP_REVISIONS: Final = "keep_revisions"
PRIVATE_BY_DEFAULT: Final = "private_by_default"
LIMITS: Final = (QUOTA_BYTES, QUOTA_REPOS, KEEP_REVISIONS, PRIVATE_BY_DEFAULT)
"""The settings of a namespace that are whole numbers; 0 or absent: no limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a namespace; None: there is none.

    private_by_default: 1 when new repositories are private unless whoever makes them says otherwise.
    """

    quota_bytes: int | None = None
    quota_repos: int | None = None
    keep_revisions: int | None = None
    private_by_default: int | None = None


def limits_of(row: NamespaceRow | None) -> Limits:
    """The limits that a namespace's settings declare."""
    settings: Mapping[str, object] = row.settings if row is not None else {}
    found = {name: value for name in LIMITS if type(value := settings.get(name)) is int and value > 0}
    return Limits(**found)


def with_limits(settings: Mapping[str, object], changes: Mapping[str, int | None]) -> dict[str, object]:
    """A namespace's settings with these limits changed; 0 takes one away, None leaves it as it is.

    Raises:
        BadRequest: a limit is no limit.
    """
    kept = dict(settings)
    for name, value in changes.items():
        if name not in LIMITS or (value is not None and (value < 0 or value >= 1 << 62)):
            raise BadRequest(f"{name} is a whole number, and 0 for no limit")
        if value is not None:
            kept[name] = value
    return {name: value for name, value in kept.items() if name not in LIMITS or value}


class Quotas:
    """Refuses what a namespace has no room for. Any thread; blocks."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def admit_repo(self, namespace: str) -> None:
        """Return when one more repository may be made there.

        Raises:
            QuotaExceeded: the namespace has as many as it may.
        """
        most = self._limits(namespace).quota_repos
        if most is not None and self._index.repo_count(namespace) >= most:
            raise QuotaExceeded(
                f"The namespace {namespace} has {most} repositories, as many as its quota allows."
            )

    def admit_lengths(self, namespace: str, sizes: Iterable[int]) -> None:
        """Return unless content of these lengths surely goes over the quota.

        Raises:
            QuotaExceeded: it does.
        """
        most = self._limits(namespace).quota_bytes
        if most is None:
            return
        coming = [size for size in sizes if size]
        known = self._index.sizes_in(namespace, set(coming))
        self._check(namespace, most, sum(size for size in coming if size not in known))

    def admit(self, namespace: str, contents: Mapping[Etag, int]) -> None:
        """Return when a namespace has room for these contents, given by their lengths.

        Raises:
            QuotaExceeded: it has not.
        """
        most = self._limits(namespace).quota_bytes
        if most is None or not contents:
            return
        known = self._index.contents_in(namespace, contents)
        self._check(namespace, most, sum(size for etag, size in contents.items() if etag not in known))

    def _check(self, namespace: str, most: int, coming: int) -> None:
        if not coming:
            return
        used = self._index.namespace_bytes(namespace)
        if used + coming > most:
            raise QuotaExceeded(
                f"The namespace {namespace} holds {shown_size(used)} of the {shown_size(most)} that its "
                f"quota allows; {shown_size(coming)} more do not fit. Delete what nobody needs, or ask an "
                "administrator for a larger quota."
            )

    def _limits(self, namespace: str) -> Limits:
        return limits_of(self._index.get_namespace(namespace))
