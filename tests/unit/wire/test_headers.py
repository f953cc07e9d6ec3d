from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser
from urllib.parse import unquote

import pytest
from multidict import CIMultiDict

from moongate.core.digests import Etag
from moongate.core.errors import UpstreamBroken
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.wire.headers import (
    content_disposition,
    content_type_of,
    etag_matches,
    file_headers,
    header_text,
    read_file_headers,
)

COMMIT = "c" * 40
SHA256 = "a" * 64
LFS_REDIRECT = {
    "X-Repo-Commit": COMMIT,
    "X-Linked-Size": "1000000",
    "X-Linked-ETag": f'"{SHA256}"',
    "ETag": '"' + "b" * 64 + '"',
    "X-Xet-Hash": "d" * 64,
    "Location": "https://cdn.example/x?Signature=1",
    "Content-Length": "1069",
}


def test_a_redirect_to_the_cdn_tells_of_the_file_behind_it() -> None:
    told = read_file_headers(LFS_REDIRECT, 302)
    assert (told.commit_hash, told.etag, told.size_bytes) == (COMMIT, SHA256, 1_000_000)
    assert told.location == "https://cdn.example/x?Signature=1"
    assert told.xet_hash == "d" * 64


def test_a_signed_location_is_not_printed() -> None:
    assert "Signature" not in repr(read_file_headers(LFS_REDIRECT, 302))


def test_a_small_file_is_told_by_etag_and_length() -> None:
    told = read_file_headers({"x-repo-commit": COMMIT, "etag": f'W/"{COMMIT}"', "content-length": "12"})
    assert (told.etag, told.size_bytes, told.location) == (COMMIT, 12, None)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"X-Repo-Commit": "main"}, 302),
        ({"X-Repo-Commit": ""}, 302),
        ({"X-Linked-ETag": '"not-a-hash"'}, 302),
        ({"X-Linked-Size": "-1"}, 302),
        ({"X-Linked-Size": "1e9"}, 302),
        ({"X-Linked-Size": "9" * 19}, 302),
        ({"X-Linked-Size": "9" * 6000}, 302),
        ({"Location": "https://cdn.example/\r\nSet-Cookie: x"}, 302),
        ({"Location": "https://cdn.example/" + "x" * 20_000}, 302),
    ],
)
def test_claims_that_make_no_sense(change: dict[str, str], status: int) -> None:
    with pytest.raises(UpstreamBroken):
        read_file_headers({**LFS_REDIRECT, **change}, status)


@pytest.mark.parametrize("missing", ["X-Repo-Commit", "X-Linked-Size"])
def test_claims_that_are_missing(missing: str) -> None:
    said = {name: value for name, value in LFS_REDIRECT.items() if name != missing}
    with pytest.raises(UpstreamBroken):
        read_file_headers(said, 302)


def test_a_compressed_length_is_not_the_files() -> None:
    said = {"X-Repo-Commit": COMMIT, "ETag": COMMIT, "Content-Length": "9", "Content-Encoding": "gzip"}
    with pytest.raises(UpstreamBroken):
        read_file_headers(said)


def test_two_sizes_are_a_lie() -> None:
    said = CIMultiDict(LFS_REDIRECT)
    said.add("x-linked-size", "5")
    with pytest.raises(UpstreamBroken):
        read_file_headers(said, 302)


def file_at(path: str) -> FileAt:
    entry = FileEntry(RepoPath(path), Etag(SHA256), 1_000_000)
    return FileAt(RepoId("model", "acme/tiny"), CommitHash(COMMIT), entry)


def test_what_we_write_reads_back_the_same() -> None:
    written = dict(file_headers(file_at("sub/model.safetensors")))
    told = read_file_headers(written)
    assert (told.commit_hash, told.etag, told.size_bytes, told.xet_hash) == (COMMIT, SHA256, 1_000_000, None)
    assert written["Accept-Ranges"] == "bytes"
    assert written["ETag"] == f'"{SHA256}"'
    assert "X-Repo-Commit" in written["Access-Control-Expose-Headers"]
    exposed = "Access-Control-Expose-Headers"
    assert not any("xet" in (name + value).lower() for name, value in written.items() if name != exposed)


@pytest.mark.parametrize(
    "name",
    ["plain.bin", "with space.txt", 'quo"te\\.txt', "naïve ключ.bin", "a;b=c.txt", "per%20cent", "x\r\ny: z"],
)
def test_a_file_name_survives_its_header(name: str) -> None:
    value = content_disposition(f"folder/{name}")
    assert value.isascii()
    assert value.isprintable()
    message: Message = HeaderParser().parsestr(f"Content-Disposition: {value}\n\n")
    plain = message.get_param("filename", header="content-disposition")
    assert unquote(value.split("filename*=UTF-8''")[1].split(";")[0]) == name
    assert plain is not None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("config.json", "text/plain; charset=utf-8"),
        ("index.HTML", "text/plain; charset=utf-8"),
        (".gitattributes", "text/plain; charset=utf-8"),
        ("model.safetensors", "application/octet-stream"),
        ("picture.svg", "application/octet-stream"),
        ("json/model", "application/octet-stream"),
    ],
)
def test_no_type_that_a_browser_would_run(path: str, expected: str) -> None:
    assert content_type_of(path) == expected


@pytest.mark.parametrize(
    ("header", "same"),
    [
        (None, False),
        ("*", True),
        (f'"{SHA256}"', True),
        (f'W/"{SHA256}"', True),
        (f'"x", "{SHA256}"', True),
        ('"x"', False),
    ],
)
def test_if_none_match(header: str | None, same: bool) -> None:
    assert etag_matches(header, Etag(SHA256)) is same


def test_untrusted_text_becomes_one_line() -> None:
    assert header_text("a\r\nX-Evil: 1\x00 é €") == "a  X-Evil: 1  é ?"
    assert len(header_text("x" * 10_000)) == 300
