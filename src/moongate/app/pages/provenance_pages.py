"""`/-/provenance`: who vouches for a commit, which files nobody vouches for, and its papers to take along.

Whoever may see the repository sees its signatures and takes its bills of materials. Statements tell who
received it, so they are for administrators, who also have it signed with the gateway's own key.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlencode

from moongate.app.pages.heads import PROVENANCE, Heads, Known
from moongate.app.pages.visits import Given, PageAnswer, Sent, Shown, Visit
from moongate.core.errors import Absent, BadRequest, NotAllowed
from moongate.core.names import DEFAULT_REVISION, CommitHash, is_commit_hash, parse_repo, parse_revision
from moongate.core.verdicts import VERDICTS
from moongate.policy.provenance.cyclonedx import cyclonedx
from moongate.policy.provenance.facts import CommitFacts
from moongate.policy.provenance.spdx import spdx
from moongate.policy.provenance.statements import gateway_name
from moongate.policy.provenance.vouching import Found
from moongate.web.provenance_views import DownloadView, PathsView, ProvenanceView, SignatureView
from moongate.web.security_views import verdict_view
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

PAPER: Final = f"{PROVENANCE}/paper"
SIGN: Final = f"{PROVENANCE}/sign"
STATE: Final = f"{PROVENANCE}/state"
_HASHED_AT_ONCE = 256
_MOST_PATHS = 20
_ENDINGS: Final[Mapping[str, str]] = {
    "cyclonedx": "cdx.json",
    "spdx": "spdx.json",
    "statements": "intoto.jsonl",
    "signature": "model.sig",
}
"""What there is to take along, and how its file's name ends."""

_METHODS = {"key": "a key", "certificate": "a certificate"}


@dataclass(frozen=True, slots=True)
class _Standing:
    """The state of all signatures in one line."""

    word: str
    tone: str
    drawing: str
    said: str


class ProvenancePages:
    """What is known of one commit of a repository."""

    def __init__(self, gateway: Gateway, heads: Heads) -> None:
        self._gateway = gateway
        self._heads = heads
        self._vouching = gateway.stock.vouching()

    async def show(self, visit: Visit) -> PageAnswer:
        return await self._page(visit, await self._known(visit, visit.query))

    async def paper(self, visit: Visit) -> PageAnswer:
        """A bill of materials, the statements that are kept, or the signature that was made here."""
        known, what = await self._known(visit, visit.query), visit.query.get("what", "")
        if what == "statements" and not visit.is_admin:
            raise NotAllowed("Statements tell who received it; they are for administrators.")
        if what not in _ENDINGS:
            raise BadRequest("There is no such paper.")
        body = await asyncio.to_thread(self._paper, known, what)
        name = f"{known.head.name}-{known.commit[:12]}.{_ENDINGS[what]}"
        headers = (
            ("Content-Type", "application/jsonl" if what == "statements" else "application/json"),
            ("Content-Disposition", f'attachment; filename="{name}"'),
            ("Cache-Control", "no-store"),
        )
        return Given(headers, body)

    async def sign(self, visit: Visit) -> PageAnswer:
        """Signs every file of the commit with the gateway's own key."""
        known = await self._known(visit, visit.form)
        try:
            signer = await asyncio.to_thread(self._sign, known)
        except (BadRequest, Absent) as error:
            return await self._page(visit, known, f"{error.message[:1].upper()}{error.message[1:]}.")
        visit.exchange.tell(
            "repo.sign", known.repo, commit_hash=known.commit, details={"signer": signer, "way": "page"}
        )
        return Sent(_href(PROVENANCE, known))

    async def state(self, visit: Visit) -> PageAnswer:
        """States where the commit came from and what happened to it here, signed, and keeps that."""
        known = await self._known(visit, visit.form)
        await asyncio.to_thread(self._state, known)
        visit.exchange.tell("repo.attest", known.repo, commit_hash=known.commit, details={"way": "page"})
        return Sent(_href(PROVENANCE, known))

    async def _known(self, visit: Visit, told: Mapping[str, str]) -> Known:
        revision = parse_revision(told["revision"]) if told.get("revision") else DEFAULT_REVISION
        return await self._heads.of(visit, parse_repo(told.get("repo", "")), revision)

    async def _page(self, visit: Visit, known: Known, wrong: str = "") -> Shown:
        view = await asyncio.to_thread(self._view, visit, known, wrong)
        values = {"repo": known.head, "view": view, "tab": "provenance"}
        title, section = f"Provenance · {known.repo.repo_id}", f"{known.repo.repo_type}s"
        return Shown("provenance", title, values, section=section, status=400 if wrong else 200)

    def _view(self, visit: Visit, known: Known, wrong: str) -> ProvenanceView:
        commit_href = page_href(known.repo, "tree", known.commit or DEFAULT_REVISION)
        try:
            facts, found = self._facts(known), self._vouching.signatures(known.repo, _commit(known))
        except Absent as error:
            return ProvenanceView(
                str(known.repo), known.commit, commit_href, nothing=error.message, wrong=wrong
            )
        kept = self._gateway.index.attestations(known.repo, _commit(known))
        statements = [(one.signer, one.made_at) for one in reversed(kept) if one.kind == "provenance"]
        standing = _standing(found, len(facts.files))
        judged = Counter(file.verdict or "unscanned" for file in facts.files)
        here = any(one.where == "here" for one in found)
        return ProvenanceView(
            repo=str(known.repo),
            commit=known.commit,
            commit_href=commit_href,
            word=standing.word,
            tone=standing.tone,
            drawing=standing.drawing,
            said=standing.said,
            signatures=[_signature(one) for one in found],
            origin=facts.origin,
            complete=facts.complete,
            file_count=len(facts.files),
            verdicts=[(verdict_view(verdict), judged[verdict]) for verdict in VERDICTS if judged[verdict]],
            downloads=_downloads(known, signed=here, stated=bool(statements) and visit.is_admin),
            statements=statements if visit.is_admin else (),
            may_sign=visit.is_admin,
            wrong=wrong,
        )

    def _facts(self, known: Known) -> CommitFacts:
        self._gateway.keeping.note_digests(most=_HASHED_AT_ONCE)
        return self._gateway.facts_of(known.repo, _commit(known))

    def _paper(self, known: Known, what: str) -> bytes:
        if what in ("cyclonedx", "spdx"):
            write = spdx if what == "spdx" else cyclonedx
            told = write(self._facts(known), time.time())
            return json.dumps(told, indent=2, ensure_ascii=False).encode()
        wanted = "provenance" if what == "statements" else "model-signature"
        kept = self._gateway.index.attestations(known.repo, _commit(known))
        bodies = [one.body for one in kept if one.kind == wanted]
        if not bodies:
            raise Absent("Nothing of this commit was signed here.")
        return b"".join(body + b"\n" for body in bodies) if what == "statements" else bodies[-1]

    def _sign(self, known: Known) -> str:
        self._gateway.keeping.note_digests(most=_HASHED_AT_ONCE)
        key = self._gateway.stock.signing_key()
        return self._vouching.sign(known.repo, _commit(known), key).signer

    def _state(self, known: Known) -> None:
        key = self._gateway.stock.signing_key()
        named = self._gateway.settings.public_url or gateway_name(key)
        self._vouching.state(self._facts(known), key, named)


def _commit(known: Known) -> CommitHash:
    if not is_commit_hash(known.commit):
        raise Absent("This repository has no commit yet.")
    return cast(CommitHash, known.commit)


def _standing(found: Sequence[Found], files: int) -> _Standing:
    best = found[0].coverage if found else None
    if best is None:
        said = "Nobody vouches for these files. That says nothing about whether they are safe."
        return _Standing("Not signed", "", "question", said)
    if not best.valid:
        said = "There is a signature, and it is not good. Do not take these files for its signer's."
        return _Standing("Signature not valid", "bad", "stop", said)
    if not best.complete:
        count = len(best.uncovered)
        said = f"{best.signer} vouches for {len(best.covered)} of {files} files."
        few = f"Signed, but for {count} {'file' if count == 1 else 'files'}"
        return _Standing(few, "warn", "alert", said)
    said = f"{best.signer} vouches for every file. A signature says who, never that it is safe."
    return _Standing("Signed", "good", "seal", said)


def _signature(found: Found) -> SignatureView:
    told = found.coverage
    word, tone = (
        ("whole", "good") if told.complete else ("in part", "warn") if told.valid else ("not valid", "bad")
    )
    lists = (
        ("Changed since it was signed", "bad", told.changed),
        ("Signed, and not there", "bad", told.missing),
        ("Signed, and its content is not known here", "warn", told.unknown),
        ("Nobody vouches for", "warn", told.uncovered),
        ("Covered", "good", told.covered),
    )
    return SignatureView(
        where="made here" if found.where == "here" else found.where,
        word=word,
        tone=tone,
        signer=told.signer or "nobody who is believed here",
        method=_METHODS.get(told.method, ""),
        why=f"{told.why[:1].upper()}{told.why[1:]}." if told.why else "",
        covered=len(told.covered),
        lists=[
            PathsView(words, tone, paths[:_MOST_PATHS], max(0, len(paths) - _MOST_PATHS))
            for words, tone, paths in lists
            if paths
        ],
    )


def _downloads(known: Known, *, signed: bool, stated: bool) -> list[DownloadView]:
    papers = [
        ("CycloneDX ML-BOM", "what is in it, for tools that read CycloneDX 1.6", "cyclonedx"),
        ("SPDX 3 AI profile", "the same, for tools that read SPDX 3.0.1", "spdx"),
    ]
    if signed:
        papers.append(
            ("model.sig", "the signature that was made here, as OpenSSF tools read it", "signature")
        )
    if stated:
        papers.append(
            ("in-toto statements", "where it came from and what happened here, signed", "statements")
        )
    return [DownloadView(name, words, _href(PAPER, known, what=what)) for name, words, what in papers]


def _href(path: str, known: Known, **more: str) -> str:
    return f"{path}?{urlencode({'repo': str(known.repo), 'revision': known.commit, **more})}"
