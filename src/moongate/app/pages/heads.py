"""What stands on top of each page of a repository, from the answer that the API gives this visitor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from moongate.app.pages.asking import ask, items, mapping, text
from moongate.app.pages.visits import Visit
from moongate.core.names import DEFAULT_REVISION, RepoId, Revision
from moongate.web.views import RepoHead, Tab, TagView
from moongate.wire import routes
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

SECURITY = "/-/security/repo"
PROVENANCE = "/-/provenance"
_MOST_TAGS = 12
_DULL_TAGS = ("base_model:", "license:", "region:", "arxiv:", "doi:", "dataset:", "format:", "modality:")
_DULL_WORDS = frozenset(("endpoints_compatible", "autotrain_compatible", "safetensors", "deploy:azure"))


Issues = Callable[[RepoId], int | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A repository as this visitor may see it: its info, and its head."""

    repo: RepoId
    info: Mapping[str, Any]
    head: RepoHead
    hosted: bool

    @property
    def commit(self) -> str:
        return text(self.info.get("sha"))

    @property
    def paths(self) -> Sequence[str]:
        """Its files."""
        return [text(one.get("rfilename")) for one in items(self.info.get("siblings"))]

    @property
    def card(self) -> Mapping[str, Any]:
        """What its card says of it."""
        return mapping(self.info.get("cardData"))


class Heads:
    """Asks for a repository once for each page."""

    def __init__(self, gateway: Gateway, issues: Issues) -> None:
        """issues: how much is wrong in a repository; None: nothing is said of it."""
        self._gateway = gateway
        self._issues = issues

    async def of(self, visit: Visit, repo: RepoId, revision: Revision = DEFAULT_REVISION) -> Known:
        """The repository.

        Raises:
            As `Repos.answer`: what the API answers this caller.
        """
        asked = None if revision == DEFAULT_REVISION else revision
        info = mapping((await ask(self._gateway.repos, routes.Info(repo, asked), visit.caller)).value)
        hosted = self._gateway.repos.is_hosted(repo)
        pinned = any(pin.repo == repo for pin in self._gateway.index.pins())
        files, issues = len(items(info.get("siblings"))), await asyncio.to_thread(self._issues, repo)
        judged_href = f"{SECURITY}?{urlencode({'repo': str(repo)})}"
        vouched_query = {"repo": str(repo), **({} if asked is None else {"revision": revision})}
        vouched_href = f"{PROVENANCE}?{urlencode(vouched_query)}"
        judged: Tab = ("security", "Security", "shield", judged_href, issues or None)
        head = RepoHead(
            kind=repo.repo_type,
            namespace=repo.namespace,
            name=repo.repo_id.rpartition("/")[2],
            full_name=repo.repo_id,
            hosted=hosted,
            upstream=urlsplit(self._gateway.settings.upstream).netloc,
            private=info.get("private") is True,
            gated=bool(info.get("gated")),
            pinned=pinned,
            tags=_tags(info, repo),
            issues=issues or 0,
            security_href=judged_href,
            tabs=(
                ("card", "Card", "home", page_href(repo), None),
                ("files", "Files", "folder", page_href(repo, "tree", revision), files),
                ("history", "History", "commit", page_href(repo, "commits", revision), None),
                *(() if issues is None else (judged,)),
                ("provenance", "Provenance", "seal", vouched_href, None),
            ),
        )
        return Known(repo, info, head, hosted)


def _tags(info: Mapping[str, Any], repo: RepoId) -> list[TagView]:
    first = [word for name in ("pipeline_tag", "library_name", "sdk") if (word := text(info.get(name)))]
    told = info.get("tags")
    rest = [tag for tag in told if isinstance(tag, str)] if isinstance(told, list) else []
    names = dict.fromkeys(
        tag for tag in (*first, *rest) if not tag.startswith(_DULL_TAGS) and tag not in _DULL_WORDS
    )
    href = f"/{repo.repo_type}s?"
    return [
        TagView(name, href + urlencode({"filter": name}) if name in rest else None)
        for name in list(names)[:_MOST_TAGS]
    ]
