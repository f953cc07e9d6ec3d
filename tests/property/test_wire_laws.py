"""Laws of names, routes, ranges, links and headers, for whatever anybody sends."""

from __future__ import annotations

from typing import get_args
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st

from moongate.core.digests import Etag
from moongate.core.errors import BadName, MoongateError, UpstreamBroken
from moongate.core.names import (
    CommitHash,
    RepoId,
    RepoPath,
    Revision,
    is_repo_segment,
    parse_repo,
    parse_repo_path,
    parse_revision,
)
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.wire.errors import error_from_answer, wait_seconds
from moongate.wire.headers import content_disposition, file_headers, header_text, read_file_headers
from moongate.wire.lfs import LfsPointed, pointer_text, read_pointer
from moongate.wire.links import next_header, next_link, relative_next, rewrite_next
from moongate.wire.ranges import MAX_RANGES, Unsatisfiable, parse_range
from moongate.wire.routes import Info, Resolve, Route, Tree, parse_route

KEYWORDS = {"resolve", "raw", "info", "tree", "revision", "refs", "auth-check", "discussions"}
RESERVED = {"api", "v2", "buckets", "kernels", "models", "datasets", "spaces"}


def accepted(parse: object, text: str) -> bool:
    try:
        parse(text)  # type: ignore[operator]
    except BadName:
        return False
    return True


repo_segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda text: is_repo_segment(text) and text not in KEYWORDS | RESERVED and not text.endswith(".git")
)
repos = st.builds(
    lambda kind, names: RepoId(kind, "/".join(names)),
    st.sampled_from(["model", "dataset", "space"]),
    st.lists(repo_segments, min_size=1, max_size=2),
)
revisions = st.one_of(
    st.sampled_from(["main", "refs/pr/1", "refs/convert/parquet", "feat/x", "v1.0", "c" * 40]),
    st.text(min_size=1, max_size=30).filter(lambda text: accepted(parse_revision, text)),
).map(Revision)
paths = (
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda text: accepted(parse_repo_path, text))
    .map(RepoPath)
)
hashes = st.text("0123456789abcdef", min_size=40, max_size=40).map(CommitHash)
etags = st.one_of(st.text("0123456789abcdef", min_size=size, max_size=size) for size in (40, 64)).map(Etag)
sizes = st.integers(0, 1 << 44)


@given(repos)
def test_a_repository_reads_back_from_its_printed_form(repo: RepoId) -> None:
    assert parse_repo(str(repo)) == repo


@given(repos, revisions, paths)
def test_a_file_address_reads_back(repo: RepoId, revision: Revision, path: RepoPath) -> None:
    address = f"{repo.file_path}/resolve/{quote(revision, safe='')}/{quote(path)}"
    assert parse_route(address) == Resolve(repo, revision, path)


@given(repos, revisions, paths)
def test_a_folder_address_reads_back_however_its_slashes_are_written(
    repo: RepoId, revision: Revision, path: RepoPath
) -> None:
    base = f"{repo.api_path}/tree/{quote(revision, safe='')}"
    assert parse_route(f"{base}/{quote(path, safe='')}") == Tree(repo, revision, path)
    assert parse_route(f"{base}/{quote(path)}?recursive=true") == Tree(repo, revision, path)
    assert parse_route(base) == Tree(repo, revision, None)


@given(repos, revisions)
def test_an_info_address_reads_back(repo: RepoId, revision: Revision) -> None:
    assert parse_route(repo.api_path) == Info(repo, None)
    assert parse_route(f"{repo.api_path}/revision/{quote(revision, safe='')}") == Info(repo, revision)


@given(
    st.text(st.characters(codec=None), max_size=80),
    st.sampled_from(["", "/api/models/", "/a/b/resolve/", "/v2/"]),
)
def test_any_address_is_a_route_or_a_bad_name(text: str, head: str) -> None:
    try:
        route = parse_route(head + text)
    except BadName:
        return
    assert isinstance(route, get_args(Route))
    path = getattr(route, "path", None)
    if isinstance(path, str):
        assert ".." not in path.replace("%2e", ".").replace("%2E", ".").split("/")


@given(
    st.lists(
        st.sampled_from(["..", "%2e%2e", "a", "%2F", "..%2f", "b%2F..%2Fc", ".", "main"]),
        min_size=1,
        max_size=6,
    )
)
def test_no_address_climbs(segments: list[str]) -> None:
    from_root = "/acme/tiny/resolve/main/" + "/".join(segments)
    climbs = {".", ".."} & set(
        "/".join(segments).replace("%2e", ".").replace("%2F", "/").replace("%2f", "/").split("/")
    )
    if climbs:
        assert not accepted(parse_route, from_root)


specs = st.one_of(
    st.builds("{}-{}".format, st.integers(0, 300), st.integers(0, 300)),
    st.builds("{}-".format, st.integers(0, 300)),
    st.builds("-{}".format, st.integers(0, 300)),
)


def wanted(spec: str, size_bytes: int) -> set[int]:
    """The bytes a well-formed range asks for, by the letter of RFC 9110."""
    first, last = spec.split("-")
    if not first:
        return set(range(max(0, size_bytes - int(last)), size_bytes))
    return set(range(int(first), min(int(last) + 1 if last else size_bytes, size_bytes)))


@given(st.lists(specs, min_size=1, max_size=20), st.integers(1, 250))
def test_ranges_give_exactly_the_bytes_asked_for_each_once(asked: list[str], size_bytes: int) -> None:
    found = parse_range("bytes=" + ", ".join(asked), size_bytes)
    backwards = any(a and b and int(b) < int(a) for a, b in (spec.split("-") for spec in asked))
    if backwards or len(asked) > MAX_RANGES:
        assert found is None
        return
    bytes_wanted = set().union(*(wanted(spec, size_bytes) for spec in asked))
    if not bytes_wanted:
        assert found == Unsatisfiable(size_bytes)
        return
    assert isinstance(found, list)
    assert all(span and span.end <= size_bytes for span in found)
    given_bytes = [position for span in found for position in range(span.start, span.end)]
    assert len(given_bytes) == len(set(given_bytes))
    assert set(given_bytes) == bytes_wanted
    ends = {span.end for span in found}
    assert not any(span.start in ends for span in found), "touching spans are one"


@given(sizes, st.data())
def test_a_span_survives_its_header(size_bytes: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size_bytes))
    end = data.draw(st.integers(start, size_bytes))
    assume(start < end)
    span = ByteSpan(start, end)
    assert parse_range(span.range_header(), size_bytes) == [span]


@given(st.text(max_size=60), sizes)
def test_any_range_header_is_read(text: str, size_bytes: int) -> None:
    found = parse_range("bytes=" + text, size_bytes)
    assert found is None or found == Unsatisfiable(size_bytes) or isinstance(found, list)


@given(
    st.from_regex(r"/[a-z0-9/%=&?._-]{1,40}", fullmatch=True).filter(lambda path: not path.startswith("//"))
)
def test_a_next_page_moves_house_and_back(path: str) -> None:
    assume("?" not in path or path.split("?", 1)[1])
    upstream, own = "https://huggingface.co", "http://gate:8080/hub"
    ours = rewrite_next(upstream + path, upstream, own)
    assert ours == own + path
    assert next_link({"Link": next_header(ours)}) == ours
    assert relative_next(ours, own) == path


@given(repos, hashes, etags, paths, sizes)
def test_file_headers_read_back_and_are_single_lines(
    repo: RepoId, commit_hash: CommitHash, etag: Etag, path: RepoPath, size_bytes: int
) -> None:
    written = file_headers(FileAt(repo, commit_hash, FileEntry(path, etag, size_bytes)))
    for name, value in written:
        assert not set(name + value) & set("\r\n\0")
        value.encode("ascii")
    told = read_file_headers(dict(written))
    assert (told.commit_hash, told.etag, told.size_bytes) == (commit_hash, etag, size_bytes)


@given(
    st.dictionaries(
        st.sampled_from(["X-Repo-Commit", "ETag", "X-Linked-Size", "Location"]), st.text(max_size=70)
    )
)
def test_any_file_headers_are_read_or_broken(headers: dict[str, str]) -> None:
    try:
        told = read_file_headers(headers, 302)
    except UpstreamBroken:
        return
    assert told.size_bytes >= 0


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_becomes_a_safe_header_value(text: str) -> None:
    for value in (header_text(text), content_disposition(text)):
        value.encode("latin-1")
        assert not any(char in "\r\n\0" for char in value)


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(
            ["X-Error-Code", "X-Error-Message", "Retry-After", "RateLimit", "Date", "Content-Type"]
        ),
        st.text(max_size=60),
    ),
    st.binary(max_size=60),
)
def test_any_upstream_error_becomes_one_of_ours(status: int, headers: dict[str, str], body: bytes) -> None:
    error = error_from_answer(status, headers, body)
    assert isinstance(error, MoongateError)
    assert error.message.isprintable()
    assert 0 <= wait_seconds(headers) <= 3600


@given(etags.filter(lambda etag: len(etag) == 64), st.integers(0, (1 << 44) - 1))
def test_a_pointer_reads_back(etag: Etag, size_bytes: int) -> None:
    assert read_pointer(pointer_text(etag, size_bytes)) == LfsPointed(etag, size_bytes)
