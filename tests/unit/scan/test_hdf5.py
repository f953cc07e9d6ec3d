"""What leads out of an HDF5 file, wherever in it that stands."""

from __future__ import annotations

import struct

from moongate.scan.engine import judge
from moongate.scan.hdf5_links import outside_files
from moongate.weights.ranged import Held
from support.scan_samples.documents import HDF5

LINK = b"\x01\x08\x40\x01x" + struct.pack("<H", 14) + b"\x00/etc/o.h5\x00/y\x00"
HEADER = b"\x08\x00\x20\x00"


def verdict(data: bytes) -> str:
    return judge(Held(data), "model.h5").verdict


def virtual(name: bytes) -> bytes:
    """A dataset whose values lie in another one, as the library writes it: a layout, then a heap."""
    block = b"\x00" + struct.pack("<Q", 1) + name + b"\x00/data\x00" + bytes(40)
    heap_at = 700
    heap = b"GCOL\x01\x00\x00\x00" + struct.pack("<Q", 4096)
    heap += struct.pack("<HHIQ", 1, 1, 0, len(block)) + block.ljust(-(-len(block) // 8) * 8, b"\x00")
    layout = HEADER + b"\x04\x03" + struct.pack("<QI", heap_at, 1)
    return (HDF5 + bytes(300) + layout).ljust(heap_at, b"\x00") + heap + bytes(200)


def test_a_file_behind_a_block_of_its_user_is_found() -> None:
    for length in (512, 1024, 4096):
        inner = HDF5 + bytes(200) + LINK + bytes(100)
        assert judge(Held(bytes(length) + inner), "weights").verdict == "dangerous"


def test_virtual_datasets_are_followed_to_their_files() -> None:
    assert [name for name, _ in outside_files(Held(virtual(b"/etc/x.h5")))] == ["/etc/x.h5"]
    assert verdict(virtual(b"../x.h5")) == "dangerous"
    assert verdict(virtual(b".")) == "clean"


def test_addresses_may_be_short() -> None:
    """External data in a file whose addresses have four bytes."""
    start = HDF5[:8] + bytes((0, 0, 0, 0, 0, 4, 4, 0))
    heap = b"HEAP" + bytes(4) + struct.pack("<III", 32, 0, 440) + bytes(60)
    message = b"\x07\x00\x20\x00\x00\x00\x00\x00" + b"\x01\x00\x00\x00" + struct.pack("<HHI", 1, 1, 400)
    message += struct.pack("<III", 8, 0, 16)
    data = (start.ljust(200, b"\x00") + message).ljust(400, b"\x00") + heap
    data = data[:448] + b"/etc/passwd\x00" + data[460:] + bytes(100)
    assert [name for name, _ in outside_files(Held(data))] == ["/etc/passwd"]


def test_names_that_lie_compressed_are_told() -> None:
    heap = b"FRHP\x00\x07\x00\x0c\x00" + bytes(60)
    assert verdict(HDF5 + bytes(300) + heap) == "unscanned"
    assert verdict(HDF5 + bytes(300) + heap.replace(b"\x0c", b"\x00") + bytes(20)) == "clean"
