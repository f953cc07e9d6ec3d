"""A repository's first page: its card made harmless, what it is, how to use it, and who may read it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moongate.app.pages.asking import ask, items, mapping, number, text
from moongate.app.pages.heads import Heads, Known
from moongate.app.pages.reading import read_text
from moongate.app.pages.uses import uses_of
from moongate.app.pages.visits import Shown, Visit
from moongate.core.errors import Absent, BadName, MoongateError, NotAllowed, UpstreamError
from moongate.core.names import RepoId, RepoPath, Revision, is_commit_hash, parse_repo_id
from moongate.hub.hosted.lineage import Ancestor
from moongate.web.views import AncestorView, RefView, RepoView
from moongate.web.words import count_words, size_words
from moongate.wire import routes
from moongate.wire.cards import texts
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway
    from moongate.web.cards import Card

_README = RepoPath("README.md")
_MAX_README_BYTES = 2 << 20
_CARDS_KEPT = 64
_MOST_REFS = 12
_MOST_DTYPES = 6


class RepoPages:
    """`/{id}`, `/datasets/{id}`, `/spaces/{id}`."""

    def __init__(self, gateway: Gateway, heads: Heads) -> None:
        self._gateway = gateway
        self._heads = heads
        self.cards = CardShelf(gateway.settings.upstream)

    async def show(self, visit: Visit, repo: RepoId) -> Shown:
        known = await self._heads.of(visit, repo)
        card, why = await self._card(visit, known)
        counted = _parameters(known.info)
        revision = known.commit or "main"
        view = RepoView(
            card=card.html if card is not None else None,
            card_cut=card is not None and card.is_cut,
            blocked_images=card.blocked_images if card is not None else 0,
            no_card=why if card is None else "",
            readme_href=page_href(repo, "blob", "main", _README),
            gate=self._gate(visit, known),
            commit=known.commit,
            commit_href=page_href(repo, "tree", revision),
            changed=text(known.info.get("lastModified")) or None,
            parameters=counted,
            total_parameters=sum(count for _, count in counted),
            facts=_facts(known),
            readers=await asyncio.to_thread(self._readers, visit, known),
            uses=uses_of(known),
            lineage=await asyncio.to_thread(self._lineage, visit, known),
            refs=await self._refs(visit, known),
        )
        return Shown(
            "repo",
            repo.repo_id,
            {"repo": known.head, "view": view, "tab": "card"},
            section=f"{repo.repo_type}s",
        )

    async def _card(self, visit: Visit, known: Known) -> tuple[Card | None, str]:
        if _README not in known.paths:
            return None, "This repository has no README."
        content, revision = self._gateway.content, Revision(known.commit)
        try:
            file, _ = await content.file_at(known.repo, revision, _README, visit.caller)
            kept = self.cards.get(known.repo, revision, file.entry.etag)
            if kept is not None:
                return kept, ""
            readme, _ = await read_text(content, file, visit.caller, _MAX_README_BYTES)
        except (NotAllowed, Absent, UpstreamError) as error:
            return None, error.message
        return await self.cards.make(known.repo, revision, file.entry.etag, readme), ""

    def _gate(self, visit: Visit, known: Known) -> str:
        """Why the files are not for this visitor, of what is hosted here."""
        if not known.hosted:
            return ""
        try:
            self._gateway.repos.hosted.files_for(known.repo, visit.caller)
        except MoongateError as error:
            return error.message
        return ""

    def _readers(self, visit: Visit, known: Known) -> str:
        head = known.head
        if not known.hosted:
            if head.private or head.gated:
                return f"those whom {head.upstream} lets in, each by their own token"
            return "everybody whom this gateway lets in"
        if not (head.private or head.gated):
            return "everybody whom this gateway lets in"
        places = self._gateway.repos.hosted.places
        if not visit.is_admin:
            return "those with a role here"
        roles = [*places.access(known.repo.namespace), *places.access(str(known.repo))]
        named = [f"{subject.removeprefix('user:')} ({role})" for _, subject, role in roles]
        row = self._gateway.index.get_hosted(known.repo)
        creator = [f"{row.creator} (creator)"] if row is not None else []
        return ", ".join([*creator, *named, "administrators"])

    def _lineage(self, visit: Visit, known: Known) -> Sequence[AncestorView]:
        hosted = self._gateway.repos.hosted
        if known.hosted and is_commit_hash(known.commit):
            found = hosted.lineage.of(known.repo, Revision(known.commit))  # type: ignore[arg-type]
            return [self._ancestor(visit, one) for one in found]
        views = []
        for name in texts(known.card.get("base_model"))[:8]:
            try:
                base = parse_repo_id("model", name)
            except BadName:
                continue
            relation = text(known.card.get("base_model_relation")) or "base"
            views.append(AncestorView(name, page_href(base), relation, ""))
        return views

    def _ancestor(self, visit: Visit, one: Ancestor) -> AncestorView:
        """An ancestor, and its own as far as this visitor may see it."""
        row = self._gateway.index.get_hosted(one.repo) if one.hosted else None
        seen = row is None or self._gateway.repos.hosted.places.role_of(row, visit.caller) is not None
        bases = [self._ancestor(visit, base) for base in one.bases] if seen else []
        return AncestorView(str(one.repo), page_href(one.repo), one.relation, one.commit_hash or "", bases)

    async def _refs(self, visit: Visit, known: Known) -> Sequence[RefView]:
        try:
            told = mapping((await ask(self._gateway.repos, routes.Refs(known.repo), visit.caller)).value)
        except MoongateError:
            return ()
        found = [
            RefView(name, page_href(known.repo, "tree", name), kind == "tags")
            for kind in ("branches", "tags")
            for one in items(told.get(kind))
            if (name := text(one.get("name")))
        ]
        return found[:_MOST_REFS]


class CardShelf:
    """Cards that were made lately: making one takes a while, and it is the same for everybody."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._kept: OrderedDict[tuple[RepoId, str, str, str], Card] = OrderedDict()

    def get(self, repo: RepoId, revision: str, etag: str, folder: str = "") -> Card | None:
        return self._kept.get((repo, revision, etag, folder))

    async def make(self, repo: RepoId, revision: str, etag: str, readme: str, folder: str = "") -> Card:
        """The card of a README, in a thread: strangers wrote it."""
        card = await asyncio.to_thread(self._made, repo, revision, readme, folder)
        self._kept[repo, revision, etag, folder] = card
        if len(self._kept) > _CARDS_KEPT:
            self._kept.popitem(last=False)
        return card

    def _made(self, repo: RepoId, revision: str, readme: str, folder: str) -> Card:
        from moongate.web.cards import CardPlace, card_of  # noqa: PLC0415 - a start need not wait for its parsers

        place = CardPlace(
            base=page_href(repo),
            revision=revision,
            images=f"/-/images/{repo.repo_type}s/{repo.repo_id}/blob/{revision}",
            upstream=self._upstream,
            folder=folder,
        )
        return card_of(readme, place)


def _parameters(info: Mapping[str, Any]) -> list[tuple[str, int]]:
    told = mapping(mapping(info.get("safetensors")).get("parameters"))
    counted = [(name, number(count)) for name, count in told.items() if number(count) > 0]
    gguf = mapping(info.get("gguf"))
    if not counted and number(gguf.get("total")):
        counted = [(text(gguf.get("quantization")) or "GGUF", number(gguf.get("total")))]
    return sorted(counted, key=lambda pair: -pair[1])[:_MOST_DTYPES]


def _facts(known: Known) -> list[tuple[str, str]]:
    info, card = known.info, known.card
    facts = [
        ("Licence", ", ".join(texts(card.get("license"))) or text(card.get("license_name")) or "not said")
    ]
    gguf = mapping(info.get("gguf"))
    if gguf:
        facts.append(("Architecture", text(gguf.get("architecture")) or "not said"))
        if number(gguf.get("context_length")):
            facts.append(("Context", f"{number(gguf['context_length']):,} tokens"))
    if languages := texts(card.get("language")):
        facts.append(("Language", ", ".join(languages[:8])))
    if trained := texts(card.get("datasets")):
        facts.append(("Trained on", ", ".join(trained[:4])))
    if used := number(info.get("usedStorage")):
        facts.append(("Takes up", size_words(used)))
    if downloads := number(info.get("downloads")):
        facts.append(("Downloads", count_words(downloads)))
    return facts
