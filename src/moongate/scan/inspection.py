"""One judgement under way: looks at content and at everything inside it, by what the bytes are.

A scanner is a function that takes the inspection, the content and its `Place`, and writes into the ledger.
Those of containers call `look` again with what they hold. Depth and the amount unpacked are bounded for the
whole judgement; what lies beyond is told as not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from moongate.core.spans import ByteSpan
from moongate.scan.ledger import Ledger
from moongate.scan.sniff import HEAD_BYTES, sniff
from moongate.weights.ranged import Ranged

MAX_DEPTH: Final = 6
MAX_UNPACKED_BYTES: Final = 512 << 20
MAX_LOOKS: Final = 20_000
BOMB_RATIO: Final = 200
BOMB_BYTES: Final = 64 << 20
_PACKED = re.compile(r"(?<=.)\.(?:gz|bz2|xz|lzma|lz4|zst|zstd|zlib|z)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where content lies.

    name: the last part of its path, a hint for words and never for the choice of a scanner.
    member: its path inside containers, empty for the file itself.
    is_torch: it is part of a torch archive, whose loader provides storages.
    """

    name: str
    member: str = ""
    depth: int = 0
    is_torch: bool = False

    def inside(self, name: str, *, is_torch: bool = False) -> Place:
        member = f"{self.member}!/{name}" if self.member else name
        return Place(name.rsplit("/", 1)[-1], member, self.depth + 1, is_torch)

    def within(self) -> Place:
        """The same content, once more unwrapped: `a.txt.gz` holds `a.txt`."""
        return replace(self, name=_PACKED.sub("", self.name), depth=self.depth + 1)


Scanner: TypeAlias = "Callable[[Inspection, Ranged, Place], None]"


class Inspection:
    """Carries the ledger, the scanners by format, and what is left of the bounds."""

    def __init__(self, ledger: Ledger, scanners: Mapping[str, Scanner], always: Scanner) -> None:
        self.ledger = ledger
        self._scanners = scanners
        self._always = always
        self._left_bytes = MAX_UNPACKED_BYTES
        self._left_looks = MAX_LOOKS
        self._size_bytes = 0

    def look(self, content: Ranged, place: Place) -> None:
        """Judges one content, and what is inside it."""
        self._size_bytes = self._size_bytes or content.size_bytes
        if place.depth > MAX_DEPTH:
            self.ledger.add(
                "too-deep", f"more than {MAX_DEPTH} containers in one another", member=place.member
            )
            return
        self._left_looks -= 1
        if self._left_looks < 0:
            self.ledger.add("too-large", "more members than we look at")
            return
        if content.size_bytes == 0:
            return
        head = content.read(ByteSpan(0, HEAD_BYTES))
        kind = sniff(head, content.size_bytes)
        scanner = self._scanners.get(kind)
        try:
            (scanner or self._always)(self, content, place)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (what others found in the same file must not be lost)
            words = f"looking at it as {kind} failed: {type(error).__name__}"
            self.ledger.add("scan-failed", words, member=place.member)

    def look_anyhow(self, content: Ranged, place: Place) -> None:
        """Judges content whose mark was not meant: as what has none."""
        self._always(self, content, place)

    def loaded(self, place: Place) -> Callable[[Ranged, int], None]:
        """Looks at bytes in a pickle that loading it loads."""

        def look(content: Ranged, at: int) -> None:
            self.look(content, replace(place.inside(f"(bytes at {at})"), is_torch=True))

        return look

    def may_unpack(self, size_bytes: int) -> int:
        """How many bytes may still be unpacked, at most `size_bytes`."""
        return max(0, min(size_bytes, self._left_bytes))

    def unpacked(self, size_bytes: int) -> None:
        """So much came out; more than anything ordinary grows to, all archives together, is told."""
        self._left_bytes -= size_bytes
        whole = MAX_UNPACKED_BYTES - self._left_bytes
        if whole > BOMB_BYTES and whole > BOMB_RATIO * max(self._size_bytes, 1):
            self.ledger.add("archive-bomb", f"{self._size_bytes} bytes unpack to {BOMB_BYTES} and more")
