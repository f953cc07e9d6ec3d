from __future__ import annotations

import pytest

from moongate.wire.cas_paths import (
    CasRoute,
    ChunkHashes,
    ChunkQuery,
    Data,
    GrantedXorb,
    Malformed,
    OneFile,
    SeveralFiles,
    Shard,
    Telemetry,
    WholeFile,
    WholeXorb,
    XorbCommit,
    XorbGrant,
    parse_cas_path,
)

A, B = "a" * 64, "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"/cas/v2/reconstructions/{A}", OneFile(A, 2)),
        (f"/cas/v1/reconstructions/{A}", OneFile(A, 1)),
        (f"/cas/reconstructions/{A}", OneFile(A, 1)),
        (f"/cas/reconstruction/{A}", OneFile(A, 1)),
        (f"/cas//v1/reconstructions/{A}", OneFile(A, 1)),
        ("/cas/v1/reconstructions", SeveralFiles()),
        ("/cas/reconstructions", SeveralFiles()),
        (f"/cas/v1/xorbs/default/{A}", WholeXorb(A)),
        (f"/cas/xorb/default/{A}", WholeXorb(A)),
        (f"/cas/v1/files/{A}", WholeFile(A)),
        (f"/cas/v1/chunks/default-merkledb/{A}", ChunkQuery(A)),
        (f"/cas/chunk/default/{A}", ChunkQuery(A)),
        (f"/cas/data/{A}/{B}", Data(A, B)),
        ("/cas/v1/telemetry", Telemetry()),
        ("/cas/v2/shards", Shard(2)),
        ("/cas/v1/shards", Shard(1)),
        ("/cas/shards", Shard(1)),
        (f"/cas/shard/default/{A}", Shard(1)),
        (f"/cas/v1/xorb-grants/default/{A}", XorbGrant(A)),
        (f"/cas/v1/xorb-commits/default/{A}/grant/7", XorbCommit(A, "7")),
        (f"/cas/v1/xorb-commits/default/{A}/grant/a.b", None),
        (f"/cas/granted/{A}/a-b_7", GrantedXorb(A, "a-b_7")),
        (f"/cas/v2/file-chunk-hashes/{A}", ChunkHashes()),
        ("/cas/~0123abcd/v2/shards", Shard(2)),
        (f"/cas/~0123abcd/v1/xorbs/default/{A}", WholeXorb(A)),
        ("/cas/~0123abcd/resolve/main/config.json", None),
        ("/cas/~/v2/shards", None),
        (f"/cas/v1/reconstructions/{A.upper()}", Malformed()),
        (f"/cas/data/{A}/{'g' * 64}", Malformed()),
        ("/cas/data/resolve/main/config.json", None),
        ("/cas/v1/resolve/main/config.json", None),
        ("/cas/shards/resolve/main/config.json", None),
        ("/cas/xorbs/raw/main", None),
        ("/cas/v1", None),
        ("/cas/", None),
        (f"/cas/v1/reconstructions/{A}/more", None),
    ],
)
def test_paths(path: str, route: CasRoute | None) -> None:
    assert parse_cas_path(path) == route
