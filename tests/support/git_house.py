"""A hosted repository behind git's door alone, in this process: what git tests talk to with a real git.

async with git_house(tmp_path) as house:
    await house.git("clone", house.url, "copy")
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from moongate.app.connection import FrontDoor
from moongate.app.dispatch import Dispatcher
from moongate.app.door import Door, DoorRules
from moongate.app.hosted_git_routes import HostedGitRoutes
from moongate.app.metrics import Metrics
from moongate.app.request_log import RequestLog
from moongate.app.server import listen
from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId
from moongate.hub.hosted.fetches import Fetches
from moongate.hub.hosted.git_door import GitDoor
from moongate.hub.hosted.git_folders import GitFolders
from moongate.hub.hosted.pushes import Pushes, PushRules
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.rules import HostedRules
from moongate.store.bare.programs import Limits, Programs
from moongate.store.blobs import Blobs
from moongate.store.index import GitObjectRow, HostedBlob, HostedRow, Index, Landing, RefUpdate
from moongate.store.layout import Layout
from moongate.wire import routes
from moongate.wire.git_objects import (
    MODE_FILE,
    MODE_FOLDER,
    CommitObject,
    Signature,
    TreeItem,
    blob_oid,
    encode_commit,
    encode_tree,
    object_oid,
)
from moongate.wire.lfs import pointer_text
from support.hosting import hosted_over

REPO = RepoId("model", "acme/tiny")
OWNER = Caller("anonymous", scope="admin")
ADA = Signature("Ada", "ada@example.test", 1_700_000_000)


@dataclass
class Ran:
    """What a git said, and how it ended."""

    code: int
    out: str
    said: str


@dataclass
class GitHouse:
    """A running door of git, and what is behind it."""

    folder: Path
    base: str
    index: Index
    blobs: Blobs
    repos: HostedRepos
    folders: GitFolders
    row: HostedRow
    layout: Layout
    door: _Doorman

    @property
    def url(self) -> str:
        return f"{self.base}/acme/tiny"

    async def git(
        self, *words: str, check: bool = True, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Runs a real git with nobody's settings.

        Raises:
            AssertionError: it ended badly, and `check`.
        """
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            "git",
            *words,
            cwd=cwd or self.folder,
            env={**_environment(home), **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        ran = Ran(process.returncode or 0, out.decode(errors="replace"), said.decode(errors="replace"))
        assert not check or ran.code == 0, (words, ran)
        return ran

    async def clone(self, name: str = "copy", *words: str) -> Path:
        await self.git("clone", "-q", *words, self.url, name)
        return self.folder / name

    async def head(self, where: Path, revision: str = "HEAD") -> str:
        return (await self.git("rev-parse", revision, cwd=where)).out.strip()

    def refs(self) -> dict[str, str]:
        return {ref.name: ref.target for ref in self.repos.refs(self.row)}

    def commit(
        self,
        files: Mapping[str, bytes],
        ref: str = "refs/heads/main",
        *,
        lfs: Mapping[str, bytes] | None = None,
    ) -> str:
        """Lands a commit of exactly these files (no folders in folders), as the API would."""
        kept: list[HostedBlob] = []
        objects: list[GitObjectRow] = []
        folders: dict[str, list[TreeItem]] = {"": []}
        for path, content in {**files, **(lfs or {})}.items():
            blob = self.lfs(content) if lfs and path in lfs else self.regular(content)
            kept.append(blob)
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, []).append(TreeItem(MODE_FILE, name, blob.oid))
        for folder, items in sorted(folders.items(), reverse=True):
            if folder:
                objects.append(_row("tree", encode_tree(items)))
                folders[""].append(TreeItem(MODE_FOLDER, folder, objects[-1].oid))
        objects.append(_row("tree", encode_tree(folders[""])))
        old = self.refs().get(ref)
        message = f"commit {time.time_ns()}\n"
        commit = CommitObject(objects[-1].oid, (old,) if old else (), ADA, ADA, message)
        objects.append(_row("commit", encode_commit(commit)))
        oid = objects[-1].oid
        self.repos.apply_push(self.row, Landing([RefUpdate(ref, old, oid, CommitHash(oid))], objects, kept))
        return oid

    def regular(self, content: bytes) -> HostedBlob:
        """Content in the store, as a regular file."""
        etag = Etag(blob_oid(content))
        if self.blobs.size_bytes(etag) is None:
            self.blobs.add(etag, len(content), iter([content]))
        self.index.put_blob(etag, len(content), time.time())
        return HostedBlob(etag, etag, len(content))

    def lfs(self, content: bytes) -> HostedBlob:
        """Content in the store, as an LFS file; uploaded by whoever owns the house."""
        etag = Etag(_sha256(content))
        if self.blobs.size_bytes(etag) is None:
            self.blobs.add(etag, len(content), iter([content]))
        self.index.put_blob(etag, len(content), time.time())
        self.repos.uploads.uploaded(self.row, OWNER.key, etag, len(content))
        return HostedBlob(blob_oid(pointer_text(etag, len(content))), etag, len(content))


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _row(kind: str, body: bytes) -> GitObjectRow:
    assert kind in ("tree", "commit", "tag")
    return GitObjectRow(object_oid(kind, body), kind, body)  # type: ignore[arg-type]


def _environment(home: Path) -> dict[str, str]:
    who = {"NAME": "Grace", "EMAIL": "grace@example.test"}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    }


class _Doorman(Door):
    """Lets in whoever the house says."""

    caller: Caller | None = OWNER

    async def caller_of(self, request: web.BaseRequest) -> Caller:
        return self.caller or await super().caller_of(request)


@asynccontextmanager
async def git_house(
    folder: Path, *, push_rules: PushRules | None = None, limits: Limits | None = None, private: bool = False
) -> AsyncIterator[GitHouse]:
    """A house with one empty repository, `acme/tiny`, and everybody its owner."""
    layout = Layout(folder / "gateway")
    layout.prepare()
    index, blobs, programs = Index(layout.index_path), Blobs(layout), Programs(limits)
    repos = hosted_over(layout, index, HostedRules(namespaces=("acme",)))
    row = index.add_hosted(REPO, private, "ada", {}, time.time())
    assert row is not None
    folders = GitFolders(index, blobs, layout, programs)
    pushes = Pushes(repos, folders, push_rules or PushRules())
    git = HostedGitRoutes(GitDoor(repos, Fetches(folders, programs), pushes), 20.0)
    metrics, request_log = Metrics(), RequestLog("text", enabled=False)
    door = _Doorman(index, DoorRules())
    handlers = {
        routes.GitInfoRefs: git.info_refs,
        routes.GitUploadPack: git.upload_pack,
        routes.GitReceivePack: git.receive_pack,
    }
    dispatch = Dispatcher(
        door,
        handlers,  # type: ignore[arg-type]
        pages={},
        below={},
        metrics=metrics,
        request_log=request_log,
    )
    front = FrontDoor(dispatch)
    listener = listen("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(front.accept, sock=listener)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield GitHouse(folder, base, index, blobs, repos, folders, row, layout, door)
    server.close()
    await front.drain(2.0)
    request_log.close()
    index.close()
