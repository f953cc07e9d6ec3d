"""What everybody needs for everything that is answered here: one table, by what answers and never by a path.

    public     to everybody, whatever the door says; no secret is in it
    watch      on this machine, or with a token of ours (counters)
    read       whom the door lets in; what they may see of a repository is then the repository's matter
    write      as `read`, but a token of ours must have more than scope read; then as the repository says
    user       somebody with a name: a token of ours, or a session (one's own tokens)
    approve    an approver, of the gateway or of some namespace; which ones is then the matter of what they do
    admin      an administrator: scope admin, or the user of this machine while we listen on loopback
    sealed     by an address or a token that was made for just this; whatever answers checks it

The dispatcher enforces it once it knows what will answer, so no spelling of an address changes anything.
What has no permission is not answered at all; a test walks over everything that is registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from moongate.app.exchange import PageHandler
from moongate.wire import cas_paths, routes

Permission = Literal["public", "watch", "read", "write", "user", "approve", "admin", "sealed"]


@dataclass(frozen=True, slots=True)
class Page:
    """What answers one exact address of our own, or all below one.

    name: for counters. read, write: what GET and HEAD need, and what any other method does; None: there is
    no other. cookies: a browser's session counts; whatever answers another method then checks what keeps
    pages of other sites out. any_host: whatever the Host header says (machines that watch over us).
    """

    name: str
    answer: PageHandler
    read: Permission
    write: Permission | None = None
    cookies: bool = True
    any_host: bool = False

    def permission(self, method: str) -> Permission | None:
        return self.read if method in ("GET", "HEAD") else self.write


@dataclass(frozen=True, slots=True)
class Needs:
    """What one kind of route needs: to GET or HEAD it, and to do anything else."""

    read: Permission
    write: Permission

    def of(self, method: str) -> Permission:
        return self.read if method in ("GET", "HEAD") else self.write


_USUAL = Needs("read", "write")
_ASKED_BY_POST = Needs("read", "read")

ROUTES: Final[Mapping[type[object], Needs]] = {
    routes.Info: _USUAL,
    routes.Tree: _USUAL,
    routes.Refs: _USUAL,
    routes.Commits: _USUAL,
    routes.TreeSize: _USUAL,
    routes.AuthCheck: _USUAL,
    routes.Listing: _USUAL,
    routes.ApiOther: _USUAL,
    routes.RepoOther: _USUAL,
    routes.PathsInfo: _ASKED_BY_POST,
    routes.XetReadToken: _USUAL,
    routes.XetWriteToken: Needs("write", "write"),
    routes.Whoami: _USUAL,
    routes.Resolve: _USUAL,
    routes.ResolveCache: _USUAL,
    routes.Raw: _USUAL,
    routes.GitInfoRefs: _USUAL,
    routes.GitUploadPack: _ASKED_BY_POST,
    routes.GitReceivePack: Needs("write", "write"),
    routes.LfsBatch: _ASKED_BY_POST,  # the body says whether it is an upload
    routes.LfsObject: _USUAL,
    routes.LfsOther: _USUAL,
    routes.V2Root: _USUAL,
    routes.V2Manifest: _USUAL,
    routes.V2Blob: _USUAL,
    routes.Unknown: _ASKED_BY_POST,  # nothing is there, for anybody
}
"""What the Hub's routes need."""

_SEALED = Needs("sealed", "sealed")

CAS_ROUTES: Final[Mapping[type[object], Needs]] = {
    cas_paths.OneFile: _SEALED,
    cas_paths.SeveralFiles: _SEALED,
    cas_paths.WholeXorb: _SEALED,
    cas_paths.WholeFile: _SEALED,
    cas_paths.ChunkQuery: _SEALED,
    cas_paths.Data: _SEALED,
    cas_paths.Telemetry: _SEALED,
    cas_paths.XorbGrant: _SEALED,
    cas_paths.XorbCommit: _SEALED,
    cas_paths.GrantedXorb: _SEALED,
    cas_paths.Shard: _SEALED,
    cas_paths.ChunkHashes: _SEALED,
    cas_paths.Malformed: _SEALED,
}
"""What the routes of our CAS need: a Xet token, or an address with a signature."""

UPLOADS: Final = _SEALED
"""What addresses for LFS uploads need: their signature."""
