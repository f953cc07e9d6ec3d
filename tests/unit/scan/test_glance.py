"""The look before the stream: little is read, what would run is found, and nothing is made up."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report
from moongate.hub.guard import SourceReader
from moongate.scan.jail import Limits
from moongate.scan.pool import Jails
from support.pickled import EVIL, calls, zipped

GIB = 1 << 30
NOISE = random.Random(7).randbytes(2 << 20)
INERT = calls("collections", "OrderedDict").replace(b"\x8c\x04true\x85", b")")


class Sparse:
    """A torch zip with one storage of zeros in the middle, as long as is wanted; counts what is read."""

    def __init__(self, pickle: bytes, storage_bytes: int) -> None:
        self.head = _local(b"archive/data.pkl", pickle) + _local(b"archive/data/0", b"", storage_bytes)
        self.storage_bytes = storage_bytes
        first = _central(b"archive/data.pkl", len(pickle), 0)
        second = _central(b"archive/data/0", storage_bytes, len(_local(b"archive/data.pkl", pickle)))
        directory, at = first + second, len(self.head) + storage_bytes
        end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(directory), at)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at + len(directory), 1)
        end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), 0xFFFFFFFF, 0)
        self.tail = directory + end64 + locator + end
        self.size_bytes = at + len(self.tail)
        self.read_bytes = self.reads = 0

    def read(self, span: ByteSpan) -> bytes:
        end = min(span.end, self.size_bytes)
        self.read_bytes += end - span.start
        self.reads += 1
        found = bytearray()
        for start, data in ((0, self.head), (len(self.head) + self.storage_bytes, self.tail)):
            if len(found) + span.start < min(start, end):
                found += bytes(min(start, end) - span.start - len(found))
            at = span.start + len(found)
            if start <= at < start + len(data):
                found += data[at - start : end - start]
        return bytes(found)


class Source:
    """Content as upstream gives it: a request for each span."""

    def __init__(self, content: Sparse) -> None:
        self.content = content
        self.size_bytes = content.size_bytes

    def connect(self) -> Source:
        return self

    def open(self, span: ByteSpan) -> Body:
        return Body(self.content.read(span), span)

    def close(self) -> None: ...
    def abort(self) -> None: ...


class Body:
    """What one request brings."""

    def __init__(self, data: bytes, span: ByteSpan) -> None:
        self.data = data
        self.position, self.remaining = span.start, len(data)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self.remaining)
        at = len(self.data) - self.remaining
        buffer[:count] = self.data[at : at + count]
        self.position, self.remaining = self.position + count, self.remaining - count
        return count

    def finish(self) -> None: ...


def _local(name: bytes, data: bytes, storage_bytes: int = 0) -> bytes:
    size = storage_bytes or len(data)
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    return struct.pack(
        "<4sHHHHHIIIHH", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra)
    ) + name + extra + data  # fmt: skip


def _central(name: bytes, size: int, at: int) -> bytes:
    extra = struct.pack("<HHQQQ", 1, 24, size, size, at)
    return struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF,
        len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF,
    ) + name + extra  # fmt: skip


@pytest.fixture(scope="module")
def jails() -> Iterator[Jails]:
    jails = Jails(1)
    yield jails
    jails.close()


def glance(jails: Jails, data: bytes, reach_bytes: int | None = None) -> Report:
    return jails.glance(lambda span: data[span.start : span.end], len(data), "w.bin", reach_bytes)


def test_a_torch_zip_of_five_gibibytes_costs_some_kilobytes(jails: Jails) -> None:
    for pickle, verdict in ((EVIL, "dangerous"), (INERT, "clean")):
        content = Sparse(pickle, 5 * GIB)
        reader = SourceReader(Source(content))
        report = jails.glance(reader.read, content.size_bytes, "pytorch_model.bin")
        assert report.verdict == verdict
        assert "zip" in report.formats
        assert reader.fetched_bytes == content.read_bytes < 400_000
        assert content.reads < 8, "each is a request"


@pytest.mark.parametrize("reach_bytes", [None, 64 << 10])
def test_a_long_pickle_is_judged_by_its_beginning(jails: Jails, reach_bytes: int | None) -> None:
    assert glance(jails, EVIL + NOISE, reach_bytes).verdict == "dangerous"
    long = b"\x80\x02(" + b"X\x04\x00\x00\x00abcd" * 200_000 + b"l."
    report = glance(jails, long, reach_bytes)
    assert report.verdict == "clean", "that it was cut is no finding"
    assert "pickle" in report.formats


def test_plain_data_shows_no_format(jails: Jails) -> None:
    report = glance(jails, NOISE, 64 << 10)
    assert (report.verdict, report.formats) == ("clean", ())


def test_what_runs_nothing_is_known_by_its_first_bytes(jails: Jails) -> None:
    header = b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}'
    tensors = len(header).to_bytes(8, "little") + header + bytes(9)
    assert jails.is_inert(tensors, len(tensors))
    assert jails.is_inert(b"GGUF\x03\x00\x00\x00", 100)
    for other in (EVIL, NOISE, zipped({"a": b""}), b"{}", b"import os"):
        assert not jails.is_inert(other, len(other))


def test_a_glance_ends_where_there_is_no_more_to_read(jails: Jails) -> None:
    data = zipped({"archive/data.pkl": EVIL, "archive/data/0": NOISE})

    def only_the_beginning(span: ByteSpan) -> bytes | None:
        return data[span.start : span.end] if span.end <= 65536 else None

    report = jails.glance(only_the_beginning, len(data), "w.bin", 65536)
    assert (report.verdict, report.formats) == ("clean", ("zip",))


def test_what_cannot_be_read_is_the_readers_trouble(jails: Jails) -> None:
    def broken(span: ByteSpan) -> bytes:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        jails.judge_read(broken, 100, "w.bin")
    assert glance(jails, EVIL).verdict == "dangerous", "the next one is judged all the same"


def test_reading_by_span_and_from_a_file_agree(
    jails: Jails, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for data in (EVIL, NOISE, zipped({"archive/data.pkl": INERT, "archive/data/0": NOISE})):
        path = tmp_path_factory.mktemp("one") / "w.bin"
        path.write_bytes(data)
        with path.open("rb") as file:
            from_file = jails.judge(file.fileno(), "w.bin")
        by_span = jails.judge_read(_reader(data), len(data), "w.bin")
        assert (by_span.verdict, by_span.formats) == (from_file.verdict, from_file.formats)


def test_a_scanner_that_has_no_time_is_a_verdict_and_no_outage() -> None:
    jails = Jails(1, Limits(seconds=0.000001))
    try:
        jails.warm()
        report = jails.judge_read(_reader(NOISE), len(NOISE), "w.bin")
        assert report.verdict == "failed"
    finally:
        jails.close()
        jails.close()


def _reader(data: bytes) -> Callable[[ByteSpan], bytes]:
    return lambda span: data[span.start : span.end]
