"""Clones and fetches of a hosted repository, by a real git."""

from __future__ import annotations

import shutil
from pathlib import Path

import aiohttp
import pytest

from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.errors import BadName, Conflict
from moongate.core.names import Revision
from moongate.store.bare.sweeping import sweep
from moongate.wire.git_objects import Signature
from support.git_house import OWNER, GitHouse, git_house


async def test_what_the_api_committed_is_cloned(house: GitHouse) -> None:
    house.commit({"a.txt": b"one\n"})
    commit = house.commit({"a.txt": b"two\n", "sub/b.txt": b"b\n"}, lfs={"big.bin": b"x" * 5000})
    copy = await house.clone()
    assert await house.head(copy) == commit
    assert (copy / "sub/b.txt").read_bytes() == b"b\n"
    assert b"size 5000\n" in (copy / "big.bin").read_bytes()
    assert (await house.git("log", "--oneline", cwd=copy)).out.count("\n") == 2
    await house.git("fsck", "--strict", cwd=copy)


@pytest.mark.parametrize("version", ["0", "1", "2"])
async def test_every_protocol_is_spoken(house: GitHouse, version: str) -> None:
    commit = house.commit({"a.txt": b"one\n"})
    copy = await house.clone("copy", "-c", f"protocol.version={version}")
    assert await house.head(copy) == commit
    later = house.commit({"a.txt": b"two\n"})
    await house.git("fetch", "-q", cwd=copy)
    assert await house.head(copy, "origin/main") == later
    listed = await house.git("-c", f"protocol.version={version}", "ls-remote", house.url)
    assert listed.out == f"{later}\tHEAD\n{later}\trefs/heads/main\n"


async def test_an_empty_repository_is_cloned(house: GitHouse) -> None:
    copy = await house.clone()
    assert (await house.git("branch", "--show-current", cwd=copy)).out == "main\n"
    assert (await house.git("ls-remote", house.url)).out == ""


async def test_a_shallow_clone_and_one_without_contents(house: GitHouse) -> None:
    for number in range(5):
        commit = house.commit({"a.txt": b"%d" % number, "b.txt": b"same"})
    copy = await house.clone("shallow", "--depth=2")
    assert (await house.git("log", "--format=%H", cwd=copy)).out.split()[0] == commit
    assert (await house.git("rev-list", "--count", "HEAD", cwd=copy)).out.strip() == "2"
    await house.git("fetch", "-q", "--unshallow", cwd=copy)
    assert (await house.git("rev-list", "--count", "HEAD", cwd=copy)).out.strip() == "5"
    partial = await house.clone("partial", "--filter=blob:none")
    assert (partial / "a.txt").read_bytes() == b"4"
    assert (await house.git("show", "HEAD~3:a.txt", cwd=partial)).out == "1"


async def test_branches_pull_requests_and_a_commit_by_its_hash(house: GitHouse) -> None:
    first = house.commit({"a.txt": b"1"})
    house.commit({"a.txt": b"2"})
    house.commit({"b.txt": b"b"}, "refs/heads/side")
    pull = house.commit({"p.txt": b"p"}, "refs/pr/1")
    copy = await house.clone("copy", "--single-branch")
    await house.git("fetch", "-q", "origin", "refs/pr/1:pr", "side:side", cwd=copy)
    assert await house.head(copy, "pr") == pull
    other = await house.clone("other", "--depth=1")
    await house.git("fetch", "-q", "--depth=1", "origin", first, cwd=other)
    assert (await house.git("show", f"{first}:a.txt", cwd=other)).out == "1"


async def test_the_api_makes_no_branch_that_git_could_not_clone(house: GitHouse) -> None:
    house.commit({"a.txt": b"1"})
    house.repos.refs_of.create_branch(house.row, "feat/x")
    for name in ("feat", "feat/x/y"):
        with pytest.raises(Conflict):
            house.repos.refs_of.create_branch(house.row, name)
    with pytest.raises(BadName):
        house.repos.refs_of.create_branch(house.row, "a.lock/b")
    copy = await house.clone()
    assert "origin/feat/x" in (await house.git("branch", "-r", cwd=copy)).out


async def test_a_branch_comes_before_a_tag_of_its_name(house: GitHouse) -> None:
    first, refs = house.commit({"a.txt": b"1"}), house.repos.refs_of
    second = house.commit({"a.txt": b"2"})
    author = Signature("ada", "ada@example.org", 1, "+0000")
    refs.create_tag(house.row, "one", Revision(first), "", author)
    refs.create_branch(house.row, "one", second)
    assert refs.resolve(house.row, Revision("one")) == second
    refs.delete_branch(house.row, "one")
    assert refs.resolve(house.row, Revision("one")) == first


async def test_the_folder_may_vanish_or_break(house: GitHouse) -> None:
    commit = house.commit({"a.txt": b"1"})
    await house.clone("first")
    folder = house.folders.folder(house.row)
    shutil.rmtree(folder.path)
    assert await house.head(await house.clone("second")) == commit
    (folder.path / "filling").touch()  # as a death in the middle of a filling leaves it
    for pack in folder.pack_dir.iterdir():
        pack.unlink()
    later = house.commit({"a.txt": b"2"})
    assert await house.head(await house.clone("third")) == later


async def test_a_damaged_folder_mends_itself(house: GitHouse) -> None:
    commit = house.commit({"a.txt": b"1"})
    await house.clone("first")
    for pack in house.folders.folder(house.row).pack_dir.iterdir():
        pack.unlink()
    assert (await house.git("clone", "-q", house.url, "broken", check=False)).code
    assert await house.head(await house.clone("second")) == commit


async def test_many_small_changes_do_not_pile_up(house: GitHouse) -> None:
    copy = None
    for number in range(40):
        commit = house.commit({"a.txt": b"%d" % number})
        house.folders.ready(house.row)
    copy = await house.clone()
    assert await house.head(copy) == commit
    assert len(list(house.folders.folder(house.row).pack_dir.glob("*.pack"))) < 35


async def test_a_long_history_comes_in_bounded_pieces(
    house: GitHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moongate.store.bare.syncing._REMEMBERED", 20)
    monkeypatch.setattr("moongate.store.bare.packing._MOST_OBJECTS", 7)
    for number in range(60):
        commit = house.commit({"a.txt": b"%d" % number, f"d{number % 7}/x.txt": b"%d" % (number % 5)})
    copy = await house.clone()
    assert await house.head(copy) == commit
    assert (await house.git("rev-list", "--count", "HEAD", cwd=copy)).out.strip() == "60"
    await house.git("fsck", "--strict", cwd=copy)


async def test_who_may_not_see_it_is_asked_who_they_are(tmp_path: Path) -> None:
    async with git_house(tmp_path, private=True) as house:
        house.commit({"a.txt": b"1"})
        address = f"{house.url}/info/refs?service=git-upload-pack"
        async with aiohttp.ClientSession() as session:
            house.door.caller = ANONYMOUS
            async with session.get(address) as answer:
                assert answer.status == 401
                assert any("Basic" in value for value in answer.headers.getall("WWW-Authenticate"))
            house.door.caller = Caller("token", "bob", "write")
            async with session.get(address) as answer:
                assert answer.status == 404
            house.door.caller = Caller("token", "ada", "read")
            async with session.get(address) as answer:
                assert answer.status == 200
            async with session.get(address.replace("upload", "receive")) as answer:
                assert answer.status == 403


async def test_folders_of_what_is_gone_are_swept(house: GitHouse) -> None:
    house.commit({"a.txt": b"1"})
    folder = house.folders.ready(house.row)
    assert sweep(house.layout, house.index) == 0
    house.index.drop_hosted(house.row)
    assert sweep(house.layout, house.index) == 1
    assert not folder.path.exists()


async def test_a_strange_protocol_reaches_no_program(house: GitHouse) -> None:
    house.commit({"a.txt": b"1"})
    house.door.caller = OWNER
    async with aiohttp.ClientSession() as session:
        address = f"{house.url}/info/refs?service=git-upload-pack"
        async with session.get(address, headers={"Git-Protocol": "version=2:x=$(id)"}) as answer:
            assert (await answer.read()).startswith(b"001e# service=git-upload-pack\n0000")
        for service in ("", "?service=git-upload-archive", "?service="):
            async with session.get(f"{house.url}/info/refs{service}") as answer:
                assert answer.status == 400
