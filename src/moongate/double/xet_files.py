"""Files as Xet knows them: their ids and terms. A file is packed when its id is first asked for, and once.

A file is known by its declared sha256 *and* its content, so that a test can have two files of one name.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moongate.double.content import Content, DiskContent, LfsFile
from moongate.double.packing import Packer
from moongate.double.reply import Refusal
from moongate.double.xorbs import Xorbs
from moongate.xet.hashes import Leaf, XetHash, file_hash, hash_hex, term_hash
from moongate.xet.reconstruction import Term
from moongate.xet.shard import Shard, ShardFile, ShardTerm, ShardXorb

if TYPE_CHECKING:
    from moongate.double.world import Settings


@dataclass(frozen=True, slots=True)
class XetFile:
    """A file in Xet: its id (64 hex), the sha256 it is said to have, and its terms in order."""

    id: str
    sha256: str
    terms: tuple[Term, ...]

    @property
    def size_bytes(self) -> int:
        return sum(term.unpacked_bytes for term in self.terms)


class XetFiles:
    """All files that were asked for by Xet or came through it. Safe to use from several threads."""

    def __init__(self, state_dir: Path, settings: Settings) -> None:
        self.xorbs = Xorbs(state_dir / "xet" / "xorbs")
        self._uploads = state_dir / "lfs"
        self._settings = settings
        self._lock = threading.Lock()
        self._by_content: dict[tuple[str, Content], XetFile] = {}
        self._by_id: dict[str, XetFile] = {}

    def of(self, source: LfsFile) -> XetFile:
        """A file, packed now if it was not before: this may take as long as reading and hashing it."""
        key = (source.sha256, source.content)
        with self._lock:
            known = self._by_content.get(key)
            if known is None:
                file_id, terms = Packer(self.xorbs, self._settings.xet_compression).pack(source.content)
                known = XetFile(source.xet_hash or hash_hex(file_id), source.sha256, terms)
                self._keep(key, known)
            return known

    def _keep(self, key: tuple[str, Content], file: XetFile) -> None:
        self._by_content[key] = file
        self._by_id.setdefault(file.id, file)

    def by_id(self, file_id: str) -> XetFile | None:
        """The file of this id; None when it was never asked for or uploaded."""
        return self._by_id.get(file_id)

    def register(self, shard: Shard) -> bool:
        """Take in the files of an uploaded shard, checked to the last byte; False when all were known.

        Their content is written out, so that a commit may name it by its sha256 and plain reads find it.

        Raises:
            Refusal: 400, and which check failed.
        """
        for xorb in shard.xorbs:
            self._check_xorb(xorb)
        new = [self._take(file) for file in shard.files]
        return any(new)

    def _check_xorb(self, told: ShardXorb) -> None:
        stored = self.xorbs.get(told.xorb_hash)
        if stored is None:
            raise Refusal(400, f"xorb {hash_hex(told.xorb_hash)} was not uploaded")
        if stored.leaves != told.chunks:
            raise Refusal(400, f"the shard tells other chunks than xorb {hash_hex(told.xorb_hash)} has")

    def _take(self, told: ShardFile) -> bool:
        leaves = [leaf for term in told.terms for leaf in self._leaves(term)]
        if told.verification and told.verification != tuple(
            term_hash(chunk for chunk, _ in self._leaves(term)) for term in told.terms
        ):
            raise Refusal(400, "a verification hash is not that of its term")
        if file_hash(leaves) != told.file_hash:
            raise Refusal(400, "the file hash is not that of its chunks")
        content, sha256 = self._written(told)
        terms = tuple(Term(one.xorb, one.unpacked_bytes, one.start, one.end) for one in told.terms)
        new = hash_hex(told.file_hash) not in self._by_id
        with self._lock:
            self._keep((sha256, content), XetFile(hash_hex(told.file_hash), sha256, terms))
        return new

    def _leaves(self, term: ShardTerm) -> tuple[Leaf, ...]:
        stored = self.xorbs.get(term.xorb)
        if stored is None:
            raise Refusal(400, f"a term names xorb {hash_hex(term.xorb)}, which is not here")
        leaves = stored.leaves[term.start : term.end]
        if len(leaves) != term.end - term.start:
            raise Refusal(400, f"a term names chunks that xorb {hash_hex(term.xorb)} does not have")
        if sum(length for _, length in leaves) != term.unpacked_bytes:
            raise Refusal(400, "a term tells another length than its chunks have")
        return leaves

    def _written(self, told: ShardFile) -> tuple[DiskContent, str]:
        """The content of a file, written out under its sha256."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        partial = self._uploads / f"{hash_hex(told.file_hash)}.{threading.get_ident()}.partial"
        digest, size_bytes = hashlib.sha256(), 0
        with partial.open("wb") as stream:
            for piece in self._raw(told):
                digest.update(piece)
                size_bytes += stream.write(piece)
        sha256 = digest.hexdigest()
        if told.sha256 not in (None, sha256):
            partial.unlink()
            raise Refusal(400, "the sha256 is not that of the content")
        target = self._uploads / sha256
        partial.replace(target)
        return DiskContent(target, size_bytes), sha256

    def _raw(self, told: ShardFile) -> Iterator[bytes]:
        for term in told.terms:
            stored = self.xorbs.get(term.xorb)
            if stored is not None:
                yield stored.raw(term.start, term.end)

    def begins_file(self, chunk: XetHash) -> bool:
        """Whether a chunk is the first of a file."""
        found = self.xorbs.where(chunk)
        return any(found == (file.terms[0].xorb, file.terms[0].start) for file in list(self._by_id.values()))

    def dedup_xorb(self, chunk: XetHash) -> ShardXorb | None:
        """The xorb that has a chunk, as a dedup answer tells it; None when no xorb has it."""
        found = self.xorbs.where(chunk)
        stored = self.xorbs.get(found[0]) if found else None
        return ShardXorb(stored.hash, stored.leaves, stored.content.size_bytes) if stored else None
