"""Where things lie, and what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.store.layout import Layout

LFS, SMALL = Etag("ab" * 32), Etag("cd" * 20)


def test_each_kind_of_content_has_its_place(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home", tmp_path / "bytes")
    assert layout.blob(LFS) == tmp_path / f"bytes/v1/blobs/sha256/ab/{LFS}"
    assert layout.blob(SMALL) == tmp_path / f"bytes/v1/blobs/git/cd/{SMALL}"
    assert layout.index_path == tmp_path / "home/index.sqlite3"
    assert Layout(tmp_path).blob(LFS).is_relative_to(tmp_path / "store")


def test_names_are_read_back_and_strangers_are_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in (
        layout.blob(LFS),
        layout.partial_data(SMALL),
        layout.partial_map(LFS),
        layout.partial_lock(LFS),
    ):
        assert layout.etag_of(path) in (LFS, SMALL)
    for name in ("README", "ab.data", LFS.upper(), f"{LFS}.bak", layout.temporary(LFS).name):
        assert layout.etag_of(layout.partial_dir / name) is None


def test_directories_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a" / "home", tmp_path / "b" / "bytes")
    layout.prepare()
    layout.prepare()
    for path in (layout.home, layout.blobs_dir, layout.partial_dir, layout.quarantine_dir):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_store_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store"):
        Layout(tmp_path / "file" / "home").prepare()
