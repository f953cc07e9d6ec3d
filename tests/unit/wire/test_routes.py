from __future__ import annotations

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadName
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.wire.routes import (
    ApiOther,
    AuthCheck,
    Commits,
    GitInfoRefs,
    GitReceivePack,
    GitUploadPack,
    Info,
    LfsBatch,
    LfsObject,
    LfsOther,
    Listing,
    PathsInfo,
    Raw,
    Refs,
    RepoOther,
    Resolve,
    ResolveCache,
    Route,
    Tree,
    TreeSize,
    Unknown,
    V2Blob,
    V2Manifest,
    V2Root,
    Whoami,
    XetReadToken,
    XetWriteToken,
    parse_route,
)

COMMIT = CommitHash("c" * 40)
SHA256 = Etag("a" * 64)
TINY = RepoId("model", "acme/tiny")
GPT2 = RepoId("model", "gpt2")
SQUAD = RepoId("dataset", "squad")
ROWS = RepoId("dataset", "acme/rows")
MAIN = Revision("main")
PR = Revision("refs/pr/1")
PARQUET = Revision("refs/convert/parquet")


def path(text: str) -> RepoPath:
    return RepoPath(text)


@pytest.mark.parametrize(
    ("address", "route"),
    [
        ("/api/models", Listing("model")),
        ("/api/datasets/?search=x", Listing("dataset")),
        ("/api/spaces", Listing("space")),
        ("/api/models/acme/tiny", Info(TINY, None)),
        ("/api/models/gpt2", Info(GPT2, None)),
        ("/api/models/acme/tiny/revision/main?blobs=true", Info(TINY, MAIN)),
        ("/api/models/acme/tiny/revision/feat%2Fx", Info(TINY, Revision("feat/x"))),
        ("/api/models/gpt2/revision/refs/pr/1", Info(GPT2, PR)),
        ("/api/models/acme/tiny/tree/main", Tree(TINY, MAIN, None)),
        ("/api/models/acme/tiny/tree/main/", Tree(TINY, MAIN, None)),
        ("/api/models/acme/tiny/tree/main/sub%2Fdir?recursive=true", Tree(TINY, MAIN, path("sub/dir"))),
        ("/api/models/acme/tiny/tree/main/sub/dir", Tree(TINY, MAIN, path("sub/dir"))),
        ("/api/models/acme/tiny/tree/refs%2Fpr%2F1/sub", Tree(TINY, PR, path("sub"))),
        ("/api/models/acme/tiny/tree/refs/pr/1/sub", Tree(TINY, PR, path("sub"))),
        ("/api/models/gpt2/tree/refs/pr/1", Tree(GPT2, PR, None)),
        ("/api/datasets/squad/tree/refs/convert/parquet/a", Tree(SQUAD, PARQUET, path("a"))),
        ("/api/datasets/acme/rows/paths-info/main", PathsInfo(ROWS, MAIN)),
        ("/api/models/acme/tiny/refs?include_prs=1", Refs(TINY)),
        ("/api/models/gpt2/refs", Refs(GPT2)),
        ("/api/models/acme/tiny/commits/main", Commits(TINY, MAIN)),
        ("/api/models/acme/tiny/treesize/main/", TreeSize(TINY, MAIN, None)),
        ("/api/models/acme/tiny/treesize/main/%2F", TreeSize(TINY, MAIN, None)),
        ("/api/models/acme/tiny/treesize/main/sub", TreeSize(TINY, MAIN, path("sub"))),
        ("/api/models/acme/tiny/auth-check", AuthCheck(TINY, write=False)),
        ("/api/models/acme/tiny/auth-check/write", AuthCheck(TINY, write=True)),
        ("/api/models/acme/tiny/discussions/3?diff=1", RepoOther(TINY, "discussions/3")),
        ("/api/models/acme/tiny/compare/a%2Fb..c", RepoOther(TINY, "compare/a%2Fb..c")),
        ("/api/models/gpt2/preupload/main", RepoOther(GPT2, "preupload/main")),
        ("/api/models/acme/tiny/xet-read-token/" + COMMIT, XetReadToken(TINY, Revision(COMMIT))),
        ("/api/models/gpt2/xet-read-token/refs%2Fpr%2F1", XetReadToken(GPT2, Revision("refs/pr/1"))),
        ("/api/models/acme/tiny/xet-write-token/main", XetWriteToken(TINY, Revision("main"))),
        ("/api/models/acme/tiny/xet-write-token/None", XetWriteToken(TINY, Revision("None"))),
        ("/api/models/acme/tiny/xet-write-token", RepoOther(TINY, "xet-write-token")),
        ("/api/models/acme/tiny/xet-read-token/refs/pr/1", XetReadToken(TINY, Revision("refs/pr/1"))),
        ("/api/models/acme/tiny/xet-read-token", RepoOther(TINY, "xet-read-token")),
        ("/api/whoami-v2", Whoami()),
        ("/api/models-tags-by-type", ApiOther("/api/models-tags-by-type")),
        ("/api/kernels/acme/k", ApiOther("/api/kernels/acme/k")),
        ("/api/users/a%20b/overview", ApiOther("/api/users/a%20b/overview")),
        (f"/api/resolve-cache/models/acme/tiny/{COMMIT}/a/b", ResolveCache(TINY, COMMIT, path("a/b"))),
        (f"/api/resolve-cache/models/gpt2/{COMMIT}/a?etag=%22x%22", ResolveCache(GPT2, COMMIT, path("a"))),
        (f"/api/resolve-cache/datasets/acme/rows/{COMMIT}/a", ResolveCache(ROWS, COMMIT, path("a"))),
        ("/acme/tiny/resolve/main/config.json", Resolve(TINY, MAIN, path("config.json"))),
        ("/acme/tiny/resolve/main/sub%20dir/a%2Bb.txt", Resolve(TINY, MAIN, path("sub dir/a+b.txt"))),
        ("/acme/tiny/resolve/refs%2Fpr%2F1/x", Resolve(TINY, PR, path("x"))),
        ("/acme/tiny/resolve/refs/pr/1/x", Resolve(TINY, PR, path("x"))),
        ("/gpt2/resolve/main/a/b", Resolve(GPT2, MAIN, path("a/b"))),
        ("/datasets/squad/resolve/refs%2Fconvert%2Fparquet/x", Resolve(SQUAD, PARQUET, path("x"))),
        ("/datasets/acme/rows/resolve/main/resolve/raw", Resolve(ROWS, MAIN, path("resolve/raw"))),
        ("/spaces/acme/app/raw/main/app.py", Raw(RepoId("space", "acme/app"), MAIN, path("app.py"))),
        ("/acme/tiny.git/info/refs?service=git-upload-pack", GitInfoRefs(TINY)),
        ("/gpt2/info/refs", GitInfoRefs(GPT2)),
        ("/datasets/acme/rows/git-upload-pack", GitUploadPack(ROWS)),
        ("/acme/tiny.git/git-receive-pack", GitReceivePack(TINY)),
        ("/acme/tiny.git/info/lfs/objects/batch", LfsBatch(TINY)),
        ("/datasets/squad.git/info/lfs/objects/batch", LfsBatch(SQUAD)),
        (f"/acme/tiny.git/info/lfs/objects/{SHA256}", LfsObject(TINY, SHA256)),
        ("/acme/tiny.git/info/lfs/locks/verify", LfsOther(TINY, "locks/verify")),
        ("/v2/", V2Root()),
        ("/v2", V2Root()),
        ("/v2/acme/tiny/manifests/Q4_K_M", V2Manifest(TINY, "Q4_K_M")),
        (f"/v2/acme/tiny/blobs/sha256:{SHA256}", V2Blob(TINY, SHA256)),
        ("/", Unknown("/")),
        ("/acme/tiny", Unknown("/acme/tiny")),
        ("/acme/tiny/tree/main", Unknown("/acme/tiny/tree/main")),
        ("/acme/tiny/resolve/main", Unknown("/acme/tiny/resolve/main")),
        ("/buckets/acme/b/resolve/x", Unknown("/buckets/acme/b/resolve/x")),
        ("/v2/_catalog", Unknown("/v2/_catalog")),
    ],
)
def test_an_address_and_its_question(address: str, route: Route) -> None:
    assert parse_route(address) == route


@pytest.mark.parametrize(
    "address",
    [
        "",
        "api/models",
        "/api/models/acme%2Ftiny",
        "/acme%2Ftiny/resolve/main/x",
        "/api/models/acme/ti..ny",
        "/api/models/-acme/tiny",
        "/api/models/acme/../../whoami-v2",
        "/api/models/acme/%2e%2e/x",
        "/api/anything/..%2f..%2fx",
        "/acme/tiny/resolve/main/../../x",
        "/acme/tiny/resolve/main/a%2F..%2Fx",
        "/acme/tiny/resolve/main/a//b",
        "/acme/tiny/resolve/main/a%5Cb",
        "/acme/tiny/resolve/main/a%00b",
        "/acme/tiny/resolve/main/a%0d%0aX: y",
        "/acme/tiny/resolve/main/%ff",
        "/acme/tiny/resolve/main/\udcff",
        "/acme/tiny/resolve/ma~in/x",
        "/acme/tiny/resolve/-x/x",
        "/acme/tiny/resolve/a%2F..%2Fb/x",
        "/v2/acme/tiny/blobs/sha256:zz",
        "/v2/acme/tiny/blobs/" + "a" * 64,
        "/v2/acme/tiny/manifests/a%2Fb",
        "/api/resolve-cache/models/acme/tiny/main/x",
        "/" + "x" * 20_000,
    ],
)
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(BadName):
        parse_route(address)


def test_a_repository_named_like_a_keyword_is_still_a_repository() -> None:
    assert parse_route("/api/models/acme/tree") == Info(RepoId("model", "acme/tree"), None)
    assert parse_route("/api/models/acme/settings") == Info(RepoId("model", "acme/settings"), None)
