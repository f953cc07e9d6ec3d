"""Manifests of GGUF repositories and their layers, as ollama and older llama.cpp ask for them.

A manifest's digest is the sha256 of its bytes, so they are kept as they came. Most layers are files of the
repository and the same content as everywhere; the small ones (template, parameters) upstream makes up, and
only the manifest names them.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from moongate.core.callers import Caller
from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName, EntryAbsent, UpstreamBroken
from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.hub import keys
from moongate.hub.access import Access
from moongate.hub.ageing import AgeingAnswers, AgeingQuestion
from moongate.hub.answers import PUBLIC, Answer
from moongate.hub.asker import Asker
from moongate.hub.identity import auth_check
from moongate.hub.refs import Refs
from moongate.store.index import Index, StoredAnswer

NO_COMMIT: Final = CommitHash("0" * 40)
"""The commit of a layer that is no file of the repository."""

_MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_MAX_LAYERS = 100


class Manifests:
    """Manifests, and what their layers are."""

    def __init__(self, index: Index, asker: Asker, access: Access, refs: Refs, ageing: AgeingAnswers) -> None:
        self._index = index
        self._asker = asker
        self._access = access
        self._refs = refs
        self._ageing = ageing

    async def manifest(self, repo: RepoId, tag: str, caller: Caller, user_agent: str) -> Answer:
        """See `ProxiedRepos.manifest`."""
        repo = await self._readable(repo, caller)
        kind = "llama-cpp" if "llama-cpp" in user_agent.lower() else "ollama"  # upstream tells llama.cpp more
        facts = self._access.facts(repo)
        shared = facts is not None and facts.files_are_public
        asked = AgeingQuestion(
            path_qs=f"/v2/{repo.repo_id}/manifests/{tag}",
            key=keys.of_repo("manifest", repo, f":{tag}:{kind}"),
            identity=f"{PUBLIC if shared else self._access.identity(caller, repo)} {kind}",
            credential=self._access.fetching_credential(caller, repo, files=True),
            repo=repo,
            purpose="manifest",
            verbatim=True,
            headers=(("Accept", _MEDIA_TYPE), ("User-Agent", kind)),
        )
        return await self._ageing.give(asked, lambda stored: self._note_layers(repo, stored))

    async def layer(self, repo: RepoId, digest: Etag, caller: Caller) -> FileAt:
        """See `ProxiedRepos.layer`."""
        repo = await self._readable(repo, caller)
        for file in await asyncio.to_thread(self._index.where_is, digest):
            if file.repo == repo:
                return file
        named = self._index.get_answer(_layer_key(repo, digest))
        if named is None:
            raise EntryAbsent(f"no manifest of {repo} that is kept here names this layer")
        return FileAt(repo, NO_COMMIT, FileEntry(RepoPath(f"sha256:{digest}"), digest, int(named.body)))

    async def _readable(self, repo: RepoId, caller: Caller) -> RepoId:
        resolved = await self._refs.resolve(repo, DEFAULT_REVISION, caller)
        if not self._access.reads(caller, resolved.repo):
            await auth_check(
                resolved.repo, write=False, caller=caller, access=self._access, asker=self._asker
            )
        return resolved.repo

    def _note_layers(self, repo: RepoId, stored: StoredAnswer) -> None:
        for digest, size_bytes in _layers(orjson.loads(stored.body)):
            named = StoredAnswer(200, {}, str(size_bytes).encode(), stored.fetched_at)
            self._index.put_answer(_layer_key(repo, digest), repo, named)


def _layer_key(repo: RepoId, digest: Etag) -> str:
    return keys.of_repo("layer", repo, f":{digest}")


def _layers(said: object) -> list[tuple[Etag, int]]:
    """Digest and size of everything that a manifest names."""
    layers = said.get("layers") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(layers, list):
        raise UpstreamBroken("upstream's manifest names no layers")
    found = []
    for item in [said.get("config"), *layers[:_MAX_LAYERS]]:
        digest, size_bytes = (
            (item.get("digest"), item.get("size")) if isinstance(item, dict) else (None, None)
        )
        if not isinstance(digest, str) or not isinstance(size_bytes, int) or size_bytes < 0:
            raise UpstreamBroken("upstream's manifest names a layer without digest or size")
        try:
            etag = parse_etag(digest.removeprefix("sha256:"))
        except BadName:
            raise UpstreamBroken("upstream's manifest names a layer by something that is no sha256") from None
        if is_sha256(etag):
            found.append((etag, size_bytes))
    return found
