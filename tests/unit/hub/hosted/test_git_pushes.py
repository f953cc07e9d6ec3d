"""Pushes to a hosted repository, by a real git: what lands, what is refused, and what the user reads."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.wire.lfs import pointer_text
from support.front import until
from support.git_house import GitHouse

MAIN = "refs/heads/main"
MIB = 1 << 20


@pytest.fixture
async def mine(house: GitHouse) -> Path:
    """A clone with one commit of the API's."""
    house.commit({"a.txt": b"1"})
    return await house.clone("mine")


async def commit(house: GitHouse, where: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    await house.git("add", "-A", cwd=where)
    await house.git("commit", "-qm", "work", cwd=where)
    return await house.head(where)


async def refused(house: GitHouse, where: Path, *words: str) -> str:
    """What the user reads of a push that changes nothing."""
    before = house.refs()
    ran = await house.git("push", *(words or ("origin", "main")), cwd=where, check=False)
    assert ran.code, ran
    assert house.refs() == before
    return ran.said


async def test_what_was_pushed_is_in_the_index(house: GitHouse) -> None:
    await house.git("init", "-q", "-b", "main", "fresh")
    fresh = house.folder / "fresh"
    oid = await commit(house, fresh, {"a.txt": b"a", "x/y/z.txt": b"z", "empty": b""})
    await house.git("push", "-q", house.url, "main", cwd=fresh)
    assert house.refs() == {MAIN: oid}
    tree = house.repos.objects.commit(house.row, oid).tree
    item = house.repos.objects.item_at(house.row, tree, "x/y/z.txt")
    assert item is not None
    held = house.repos.blob_meaning(house.row, item.oid)
    assert held is not None
    assert house.blobs.size_bytes(held.etag) == 1


async def test_both_ways_in_turn(house: GitHouse, mine: Path) -> None:
    await commit(house, mine, {"b.txt": b"2"})
    await house.git("push", "-q", cwd=mine)
    third = house.commit({"a.txt": b"1", "b.txt": b"2", "c.txt": b"3"})
    await house.git("pull", "-q", cwd=mine)
    assert await house.head(mine) == third
    fourth = await commit(house, mine, {"d.txt": b"4"})
    await house.git("push", "-q", cwd=mine)
    assert house.refs() == {MAIN: fourth}


async def test_branches_and_tags_come_and_go(house: GitHouse, mine: Path) -> None:
    oid = await commit(house, mine, {"b.txt": b"2"})
    await house.git("branch", "feat/x", cwd=mine)
    await house.git("tag", "light", cwd=mine)
    await house.git("tag", "-am", "the first", "v1.0", cwd=mine)
    await house.git("push", "-q", "origin", "main", "feat/x", "--tags", cwd=mine)
    tag = await house.head(mine, "refs/tags/v1.0")
    assert house.refs() == {
        MAIN: oid, "refs/heads/feat/x": oid, "refs/tags/light": oid, "refs/tags/v1.0": tag
    }  # fmt: skip
    pointed = {ref.name: ref.commit_hash for ref in house.repos.refs(house.row)}
    assert pointed["refs/tags/v1.0"] == oid
    other = await house.clone("other")
    assert "the first" in (await house.git("tag", "-n", cwd=other)).out
    await house.git("push", "-q", "origin", ":feat/x", ":refs/tags/light", cwd=mine)
    assert set(house.refs()) == {MAIN, "refs/tags/v1.0"}
    await house.git("fetch", "-q", "--prune", "--prune-tags", cwd=other)
    assert (await house.git("branch", "-r", cwd=other)).out.split() == [
        "origin/HEAD",
        "->",
        "origin/main",
        "origin/main",
    ]


async def test_a_branch_where_a_commit_is_already(house: GitHouse, mine: Path) -> None:
    oid = await house.head(mine)
    await house.git("push", "-q", "origin", "HEAD:refs/heads/again", cwd=mine)
    assert house.refs() == {MAIN: oid, "refs/heads/again": oid}


async def test_what_others_pushed_is_not_lost_but_by_force(house: GitHouse, mine: Path) -> None:
    theirs = house.commit({"a.txt": b"theirs"})
    ours = await commit(house, mine, {"a.txt": b"ours"})
    assert "fetch first" in await refused(house, mine)
    await house.git("push", "-q", "--force", "origin", "main", cwd=mine)
    assert house.refs() == {MAIN: ours}
    assert house.repos.objects.has_commit(house.row, theirs)  # and who knows its hash still has it


async def test_a_race_has_one_winner(house: GitHouse, mine: Path) -> None:
    """The refs moved after git was told of them: its push was made for something else."""
    await commit(house, mine, {"b.txt": b"2"})
    hook = mine / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\ntouch ../asked\nwhile [ ! -e ../go ]; do sleep 0.02; done\n")
    hook.chmod(0o755)
    pushing = asyncio.ensure_future(house.git("push", "origin", "main", cwd=mine, check=False))
    await asyncio.to_thread(until, (house.folder / "asked").exists)
    theirs = house.commit({"a.txt": b"theirs"})
    (house.folder / "go").touch()
    ran = await pushing
    assert ran.code
    assert "fetch first" in ran.said
    assert house.refs() == {MAIN: theirs}


async def test_one_ref_refused_is_all_refused(house: GitHouse, mine: Path) -> None:
    await commit(house, mine, {"b.txt": b"2"})
    said = await refused(house, mine, "origin", "main", "main:refs/convert/parquet")
    assert "only branches, tags and pull requests" in said
    assert "nothing of this push was done" in said


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (":main", "main cannot be deleted"),
        ("main:refs/pr/7", "no such pull request"),
        ("main:refs/notes/x", "only branches"),
        ("main:refs/heads/" + "a" * 40, "nobody could tell"),
        ("main:refs/heads/taken/below", "git cannot have it beside"),
        ("main:refs/tags/taken", "there is a branch of this name"),
        ("HEAD:refs/heads/HEAD", "nobody could tell"),
    ],
)
async def test_names_that_are_refused(house: GitHouse, mine: Path, spec: str, why: str) -> None:
    house.commit({"a.txt": b"1"}, "refs/heads/taken")
    assert why in await refused(house, mine, "origin", spec)


async def test_an_open_pull_request_takes_commits(house: GitHouse, mine: Path) -> None:
    house.commit({"a.txt": b"pull"}, "refs/pr/1")
    await house.git("fetch", "-q", "origin", "refs/pr/1:pr", cwd=mine)
    await house.git("checkout", "-q", "pr", cwd=mine)
    oid = await commit(house, mine, {"more.txt": b"more"})
    await house.git("push", "-q", "origin", "pr:refs/pr/1", cwd=mine)
    assert house.refs()["refs/pr/1"] == oid
    assert "not deleted" in await refused(house, mine, "origin", ":refs/pr/1")


async def test_a_tag_that_is_no_commit_is_refused(house: GitHouse, mine: Path) -> None:
    await house.git("tag", "blob", "HEAD:a.txt", cwd=mine)
    assert "a tag to a commit" in await refused(house, mine, "origin", "blob")


async def test_a_large_regular_file_is_refused_with_advice(house: GitHouse, mine: Path) -> None:
    await commit(house, mine, {"sub/model.safetensors": b"\1" * (11 * MIB)})
    await commit(house, mine, {"b.txt": b"2"})
    said = await refused(house, mine)
    assert "remote:   sub/model.safetensors (11.0 MiB)" in said
    assert 'git lfs track "*.safetensors"' in said
    await house.git("reset", "-q", "--hard", "origin/main", cwd=mine)
    oid = await commit(house, mine, {"just-so.bin": b"\2" * (10 * MIB)})
    await house.git("push", "-q", "origin", "main", cwd=mine)
    assert house.refs() == {MAIN: oid}


async def test_a_pointer_needs_its_content(house: GitHouse, mine: Path) -> None:
    content = b"weights" * 1000
    sha256 = Etag(hashlib.sha256(content).hexdigest())
    oid = await commit(house, mine, {"w.bin": pointer_text(sha256, len(content))})
    said = await refused(house, mine)
    assert f"remote:   w.bin (sha256 {sha256})" in said
    assert "git lfs push --all" in said
    blob = house.lfs(content)
    await house.git("push", "-q", "origin", "main", cwd=mine)
    assert house.refs() == {MAIN: oid}
    held = house.repos.blob_meaning(house.row, blob.oid)
    assert held is not None
    assert (held.etag, held.size_bytes, held.is_lfs) == (sha256, len(content), True)


async def test_a_pointer_that_lies_about_its_size_is_refused(house: GitHouse, mine: Path) -> None:
    blob = house.lfs(b"weights" * 1000)
    await commit(house, mine, {"w.bin": pointer_text(blob.etag, 5)})
    assert "not uploaded" in await refused(house, mine)


async def test_what_only_looks_like_a_pointer_is_a_file(house: GitHouse, mine: Path) -> None:
    text = pointer_text(Etag("a" * 64), 5).replace(b"size 5", b"size 05")
    oid = await commit(house, mine, {"w.txt": text})
    await house.git("push", "-q", "origin", "main", cwd=mine)
    assert house.refs() == {MAIN: oid}


async def test_links_and_submodules_are_refused(house: GitHouse, mine: Path) -> None:
    (mine / "sub").mkdir()
    (mine / "sub/link").symlink_to("/etc/passwd")
    await commit(house, mine, {})
    assert "'sub/link' is a symbolic link" in await refused(house, mine)
    await house.git("reset", "-q", "--hard", "origin/main", cwd=mine)
    head = await house.head(mine)
    await house.git("update-index", "--add", "--cacheinfo", f"160000,{head},module", cwd=mine)
    await house.git("commit", "-qm", "submodule", cwd=mine)
    assert "'module' is a submodule" in await refused(house, mine)


@pytest.mark.parametrize("name", ["a\\b.txt", "tab\there", "new\nline"])
async def test_paths_that_the_api_cannot_name_are_refused(house: GitHouse, mine: Path, name: str) -> None:
    await commit(house, mine, {name: b"x"})
    assert "cannot be asked for" in await refused(house, mine)


async def test_executables_and_odd_names_come_back_as_they_were(house: GitHouse, mine: Path) -> None:
    (mine / "run me ☃.sh").write_text("#!/bin/sh\n")
    (mine / "run me ☃.sh").chmod(0o755)
    oid = await commit(house, mine, {"ünïcode/ß.txt": b"x", "#?%.txt": b"y"})
    await house.git("push", "-q", "origin", "main", cwd=mine)
    other = await house.clone("other")
    assert await house.head(other) == oid
    assert (other / "run me ☃.sh").stat().st_mode & 0o111
    assert (other / "#?%.txt").read_bytes() == b"y"


async def test_a_push_from_a_shallow_clone(house: GitHouse, mine: Path) -> None:
    house.commit({"a.txt": b"2"})
    shallow = await house.clone("shallow", "--depth=1")
    oid = await commit(house, shallow, {"c.txt": b"c"})
    await house.git("push", "-q", "origin", "main", cwd=shallow)
    assert house.refs() == {MAIN: oid}
    full = await house.clone("full")
    assert (await house.git("rev-list", "--count", "HEAD", cwd=full)).out.strip() == "3"


async def test_a_push_in_chunks_and_a_merge(house: GitHouse, mine: Path) -> None:
    """Larger than git's buffer: it asks first whether it may, and then sends in chunks."""
    await house.git("checkout", "-qb", "side", cwd=mine)
    await commit(house, mine, {f"r{number}.bin": os.urandom(MIB) for number in range(3)})
    await house.git("checkout", "-q", "main", cwd=mine)
    await commit(house, mine, {"b.txt": b"2"})
    await house.git("merge", "-q", "--no-ff", "-m", "merge", "side", cwd=mine)
    oid = await house.head(mine)
    await house.git("-c", "http.postBuffer=65536", "push", "-q", "origin", "main", cwd=mine)
    assert house.refs() == {MAIN: oid}
    other = await house.clone("other")
    assert (other / "r1.bin").read_bytes() == (mine / "r1.bin").read_bytes()


async def test_nothing_is_left_of_a_push(house: GitHouse, mine: Path) -> None:
    await commit(house, mine, {"b.txt": b"2"})
    await house.git("push", "-q", "origin", "main", cwd=mine)
    (mine / "link").symlink_to("a.txt")
    await commit(house, mine, {})
    await refused(house, mine)
    assert not list(house.folders.folder(house.row).incoming_dir.iterdir())
