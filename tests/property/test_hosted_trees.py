"""Editing a tree gives what building it anew would give, whatever is done in whatever order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from moongate.core.errors import BadRequest, EntryAbsent
from moongate.double.objects import tree_objects
from moongate.hub.hosted.trees import TreeEdit
from moongate.wire.git_objects import EMPTY_TREE, MODE_FILE, TreeItem, parse_tree

_names = st.sampled_from(["a", "b", "a.b", "a-", "a0", "z"])
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _paths, st.integers(0, 5)),
        st.tuples(st.just("drop"), _paths, st.just(0)),
        st.tuples(st.just("land"), st.just(""), st.just(0)),
    ),
    max_size=30,
)


def oid(number: int) -> str:
    return hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest()


def expected(files: Mapping[str, str]) -> str:
    return tree_objects(files)[""].oid if files else EMPTY_TREE


@given(_steps)
def test_an_edited_tree_is_the_tree_of_its_files(steps: list[tuple[str, str, int]]) -> None:
    objects: dict[str, bytes] = {}

    def read(tree: str) -> dict[str, TreeItem]:
        return {item.name: item for item in parse_tree(objects[tree])}

    files: dict[str, str] = {}
    edit = TreeEdit(read, EMPTY_TREE)
    for what, path, number in steps:
        if what == "land":  # what was edited so far becomes the base of the next edit
            root, made = edit.build()
            objects |= {one.oid: one.body for one in made}
            assert root == expected(files)
            edit = TreeEdit(read, root)
            continue
        try:
            if what == "put":
                edit.put(path, MODE_FILE, oid(number))
                files[path] = oid(number)
            else:
                edit.drop(path)
                files = {
                    name: known
                    for name, known in files.items()
                    if name != path and not name.startswith(f"{path}/")
                }
        except BadRequest:
            clash = [f for f in files if f.startswith(f"{path}/") or path.startswith(f"{f}/")]
            assert what == "put"
            assert clash
        except EntryAbsent:
            assert what == "drop"
            assert not [f for f in files if f == path or f.startswith(f"{path}/")]
        assert {name: item.oid for name, item in edit.files_below("")} == files
    assert edit.build()[0] == expected(files)
