"""Brings a bare folder up to what the index says of a repository.

Only what is missing is written: an object that is in the folder is there with everything that it leads to,
since refs change, and a filling counts as done, only after all objects came. Memory is bounded however long
the history is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol

import structlog

from moongate.core.errors import BadRequest, StoreError
from moongate.store.bare.folder import BareFolder, Probe, refs_text
from moongate.store.bare.packing import Packer
from moongate.store.bare.programs import GitFailed
from moongate.wire.git_objects import (
    EMPTY_TREE,
    MODE_FOLDER,
    MODE_SUBMODULE,
    ObjectKind,
    object_oid,
    parse_commit,
    parse_tag,
    parse_tree,
)

_ASKED_TOGETHER = 200
_REMEMBERED = 500_000

log = structlog.get_logger("moongate.git")


class ObjectSource(Protocol):
    """A repository as the index has it."""

    def refs(self) -> Mapping[str, str]:
        """Every ref by its full name, with the commit or annotated tag it points to."""
        ...

    def objects(self, oids: Sequence[str]) -> Mapping[str, tuple[ObjectKind, bytes]]:
        """Those of these commits, trees and tags that there are."""
        ...

    def blob(self, oid: str) -> bytes:
        """What git holds of a file: its content, or an LFS file's pointer.

        Raises:
            StoreError: it is not there.
        """
        ...


def bring_up(folder: BareFolder, source: ObjectSource) -> None:
    """Makes the folder show what the index says now. Blocking; free when nothing changed.

    Raises:
        StoreError: the index misses an object, or the disk or git refused. Next time begins anew.
    """
    if folder.refs_text() == refs_text(source.refs()):
        return
    with folder.locked():
        folder.prepare()
        refs = source.refs()
        if folder.refs_text() == refs_text(refs):
            return
        with folder.filled(), folder.probe() as probe:
            _Filling(folder, source, probe).bring(refs.values())
        folder.write_refs(refs)
        try:
            folder.tidy()
        except GitFailed as error:  # it serves as well from many packs
            log.warning("small packs were not joined", folder=folder.path.name, why=error.message)


class _Filling:
    """One filling: what was seen in it, and the pack that grows."""

    def __init__(self, folder: BareFolder, source: ObjectSource, probe: Probe) -> None:
        self._source = source
        self._probe = probe
        self._packer = Packer(folder.take_pack)
        self._seen: set[bytes] = set()
        self._waiting: list[str] = []

    def bring(self, tips: Iterable[str]) -> None:
        """Writes these commits and tags, and whatever they lead to, unless it is there."""
        self._want(tips)
        while self._waiting:
            some = self._waiting[-_ASKED_TOGETHER:]
            del self._waiting[-_ASKED_TOGETHER:]
            found = self._source.objects(some)
            for oid in some:
                self._write(oid, found.get(oid))
            if len(self._seen) > _REMEMBERED:
                self._packer.flush()
                self._seen = {bytes.fromhex(oid) for oid in self._waiting}
        self._packer.flush()

    def _write(self, oid: str, found: tuple[ObjectKind, bytes] | None) -> None:
        if found is None and oid == EMPTY_TREE:
            found = ("tree", b"")
        if found is None or object_oid(*found) != oid:
            raise StoreError(f"a hosted repository misses its git object {oid}")
        kind, body = found
        self._packer.add(kind, body)
        try:
            self._follow(kind, body)
        except BadRequest as error:
            raise StoreError(f"a hosted repository's git object {oid} is damaged: {error.message}") from error

    def _follow(self, kind: ObjectKind, body: bytes) -> None:
        if kind == "commit":
            commit = parse_commit(body)
            self._want(chain(commit.parents, [commit.tree]))
        elif kind == "tag":
            self._want([parse_tag(body).target])
        elif kind == "tree":
            items = parse_tree(body)
            self._want(item.oid for item in items if item.mode == MODE_FOLDER)
            for oid in self._new(i.oid for i in items if i.mode not in (MODE_FOLDER, MODE_SUBMODULE)):
                self._packer.add("blob", self._source.blob(oid))

    def _want(self, oids: Iterable[str]) -> None:
        self._waiting += self._new(oids)

    def _new(self, oids: Iterable[str]) -> Iterator[str]:
        for oid in oids:
            raw = bytes.fromhex(oid)
            if raw in self._seen:
                continue
            self._seen.add(raw)
            if not self._probe.has(oid):
                yield oid
