"""The few files of a commit that say what it is: README, configurations, and weight files by their headers.

A file that cannot be read, or whose header is bad, says nothing: a repository is shown all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import orjson
import structlog

from moongate.core.errors import StoreError
from moongate.core.records import FileEntry
from moongate.core.spans import ByteSpan
from moongate.store.at_rest import AtRest
from moongate.weights.gguf import GgufFacts, read_gguf
from moongate.weights.reading import BadHeader, Reader, facts_of
from moongate.weights.safetensors import SafetensorsFacts, read_safetensors

_MAX_INDEX_BYTES = 32 << 20
_MAX_SHARDS = 1000
_MAX_HEADERS_BYTES = 256 << 20

Facts = TypeVar("Facts")

log = structlog.get_logger("moongate.cards")


class CardFiles:
    """The files of one commit. `lost` tells whether one was to be read and is not here."""

    def __init__(self, content: AtRest, files: Iterable[FileEntry]) -> None:
        self._content = content
        self._files = {str(entry.path): entry for entry in files}
        self._headers_bytes = 0
        self.lost = False

    @property
    def paths(self) -> list[str]:
        return list(self._files)

    def text(self, path: str, most_bytes: int) -> str:
        """The beginning of a text; empty when there is none."""
        entry = self._files.get(path)
        return "" if entry is None else self._beginning(entry, most_bytes).decode("utf-8", "replace")

    def several(self, paths: Iterable[str], most_bytes: int) -> dict[str, bytes]:
        """Those of these files that are there, and not longer than that."""
        found = [self._files[path] for path in paths if path in self._files]
        return {
            str(entry.path): self._beginning(entry, most_bytes)
            for entry in found
            if entry.size_bytes <= most_bytes
        }

    def safetensors(self) -> dict[str, object] | None:
        """The parameters of a model that is kept as safetensors, in one file or in shards."""
        counted: dict[str, int] = {}
        for entry in self._shards():
            facts: SafetensorsFacts | None = self._header(entry, read_safetensors(entry.size_bytes))
            if facts is None:
                return None
            for dtype, count in facts.parameters.items():
                counted[dtype] = counted.get(dtype, 0) + count
        return {"parameters": counted, "total": sum(counted.values())} if counted else None

    def gguf(self) -> dict[str, object] | None:
        """The facts of the first GGUF file, of all its parts when it is split; projectors come last."""
        names = sorted(
            (path for path in self._files if path.endswith(".gguf")),
            key=lambda path: ("mmproj" in path, path),
        )
        first = self._gguf(names[0]) if names else None
        if first is None:
            return None
        total = first.total
        head = names[0].rpartition("-00001-of-")[0]
        if first.split_count > 1 and head:
            parts = [path for path in names[1:] if path.startswith(f"{head}-")][: first.split_count - 1]
            total += sum(part.total for part in map(self._gguf, parts) if part is not None)
        told = {
            "total": total,
            "architecture": first.architecture,
            "context_length": first.context_length,
            "quantization": first.quantization,
            "chat_template": first.chat_template,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _gguf(self, path: str) -> GgufFacts | None:
        entry = self._files[path]
        return self._header(entry, read_gguf(entry.size_bytes))

    def _shards(self) -> Sequence[FileEntry]:
        """The files that together are the model; none when one is missing."""
        whole = self._files.get("model.safetensors")
        if whole is not None:
            return [whole]
        index = self.several(["model.safetensors.index.json"], _MAX_INDEX_BYTES)
        names = [name for data in index.values() for name in _shard_names(data)]
        return [self._files[name] for name in names] if all(name in self._files for name in names) else []

    def _header(self, entry: FileEntry, reader: Reader[Facts]) -> Facts | None:
        try:
            return facts_of(reader, lambda span: self._header_bytes(entry, span))
        except BadHeader as error:
            log.info("header_refused", path=entry.path, etag=entry.etag, why=error.message)
        except StoreError as error:
            self._lose(entry, error)
        return None

    def _header_bytes(self, entry: FileEntry, span: ByteSpan) -> bytes:
        self._headers_bytes += span.length
        if self._headers_bytes > _MAX_HEADERS_BYTES:
            raise BadHeader("the headers of this repository's files are absurdly long")
        return self._content.read(entry.etag, span)

    def _beginning(self, entry: FileEntry, most_bytes: int) -> bytes:
        try:
            return self._content.read(entry.etag, ByteSpan(0, min(entry.size_bytes, most_bytes)))
        except StoreError as error:
            self._lose(entry, error)
            return b""

    def _lose(self, entry: FileEntry, error: StoreError) -> None:
        self.lost = True
        log.warning("file_not_read", path=entry.path, etag=entry.etag, why=error.message)


def _shard_names(index: bytes) -> list[str]:
    try:
        said = orjson.loads(index)
    except orjson.JSONDecodeError:
        return []
    weight_map = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(weight_map, dict):
        return []
    names = sorted({name for name in weight_map.values() if isinstance(name, str)})
    return names if len(names) <= _MAX_SHARDS else []
