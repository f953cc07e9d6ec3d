"""`ByteSpan`: a half-open run of bytes, and the little algebra that fills and ranges need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ByteSpan:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a span: {self.start}..{self.end}")

    @property
    def length(self) -> int:
        return self.end - self.start

    def __bool__(self) -> bool:
        return self.end > self.start

    def range_header(self) -> str:
        """This span as the value of an HTTP `Range` header (whose end is inclusive)."""
        return f"bytes={self.start}-{self.end - 1}"

    def content_range(self, size_bytes: int | None) -> str:
        """This span as the value of a `Content-Range` header of a file of that size; None: unknown."""
        return f"bytes {self.start}-{self.end - 1}/{'*' if size_bytes is None else size_bytes}"
