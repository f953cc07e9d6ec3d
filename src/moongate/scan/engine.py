"""`judge`: one content in, one report out. The table of scanners is here, by format.

What has no format of its own is tried as a pickle: an unpickler asks for no name and no magic. So is what has
one, for a pickle may stand before an archive, and an archive behind anything.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report, Severity
from moongate.scan.active_documents import scan_office
from moongate.scan.archives import (
    compressed,
    scan_opaque,
    scan_skippable,
    scan_tar,
    scan_zip,
    unwrap,
)
from moongate.scan.columns import scan_arrow, scan_parquet
from moongate.scan.foreign_objects import is_torch7, scan_dotnet, scan_java, scan_r, scan_torch7
from moongate.scan.graphs import scan_graph
from moongate.scan.hdf5_links import compressed_links, hdf5_begins, outside_files
from moongate.scan.hidden_programs import programs_in
from moongate.scan.inspection import Inspection, Place, Scanner
from moongate.scan.keras import judge_embedded
from moongate.scan.ledger import Counted, Ledger
from moongate.scan.pdf import judge_pdf
from moongate.scan.pickles import judge_pickles, may_begin, probe
from moongate.scan.rarer_archives import (
    scan_ar,
    scan_cabinet,
    scan_cpio,
    scan_rar,
    scan_rpm,
    scan_seven_zip,
)
from moongate.scan.sniff import HEAD_BYTES, is_text, sniff
from moongate.scan.tensors import scan_gguf, scan_numpy, scan_safetensors
from moongate.scan.texts import scan_text
from moongate.scan.tflite import scan_tflite
from moongate.weights.ranged import Part, Ranged

_TAIL_BYTES = 32 << 10
_NEAR_TAIL_BYTES = 1 << 10
_MOST_SEARCHED_BYTES = 64 << 20
_FORMER_JOBLIB_BYTES = 32
_MOST_PROGRAMS = 3
_ISO_AT = 32_769
_DMG_BYTES = 512
# Arrow as a stream has no mark of its own: a message, its length, and a schema in a flat buffer.
_ARROW_STREAM = re.compile(rb"\xff\xff\xff\xff[\s\S]{2}[\x00-\x0f]\x00[\x04-\x40]\x00\x00\x00")
_WALKED = frozenset(("tar", "7z", "rar", "cab", "ar", "cpio", "rpm"))
"""Archives that may have a zip as their last member."""
_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".safetensors", ".gguf", ".onnx", ".h5", ".keras", ".pb",
            ".npy", ".npz", ".joblib", ".model", ".tflite", ".msgpack", ".pickle")  # fmt: skip
_PROGRAMS = (
    ".exe",
    ".dll",
    ".so",
    ".dylib",
    ".elf",
    ".o",
    ".a",
    ".pyd",
    ".node",
    ".com",
    ".scr",
    ".wasm",
    ".pyc",
    ".llamafile",
    ".dex",
    ".swf",
    ".beam",
)


def judge(content: Ranged, name: str = "") -> Report:
    """What content is and whether it is safe to load. `name` is only repeated in words."""
    ledger = Ledger()
    counted = Counted(content, ledger)
    place = Place(name.rsplit("/", 1)[-1])
    Inspection(ledger, SCANNERS, scan_anything).look(counted, place)
    _compare_with_name(content, ledger, place)
    return ledger.report()


# What a name promises; that it is something else is told, but decides nothing.
_PROMISES = {
    ".safetensors": {"safetensors"}, ".gguf": {"gguf"}, ".npy": {"npy"}, ".npz": {"zip"}, ".h5": {"hdf5"},
    ".hdf5": {"hdf5"}, ".keras": {"zip", "hdf5"}, ".parquet": {"parquet"},
}  # fmt: skip


def _compare_with_name(content: Ranged, ledger: Ledger, place: Place) -> None:
    ending = place.name[place.name.rfind(".") :].lower() if "." in place.name else ""
    promised = _PROMISES.get(ending)
    if promised and content.size_bytes:
        kind = sniff(content.read(ByteSpan(0, HEAD_BYTES)), content.size_bytes)
        if kind not in promised:
            # Data that nothing would run is broken, not dangerous.
            level = Severity.LOW if kind == "data" and not ledger.formats else None
            ledger.add("content-mismatch", f"{place.name} holds {kind}", severity=level)


def scan_program(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("program")
    named_so = (place.name.lower().endswith(_PROGRAMS) or ".so." in place.name) and not place.is_torch
    rule = "native-library" if named_so else "native-code"
    inspection.ledger.add(rule, f"{place.name or 'the file'} is a program", member=place.member)


def scan_anything(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Whatever has no format of its own: a pickle without a mark, old joblib, an archive at its end, data."""
    ledger = inspection.ledger
    head = content.read(ByteSpan(0, 1024))
    if head.startswith(b"ZF0x") and (begins := head.find(b"\x78", 0, _FORMER_JOBLIB_BYTES)) > 0:
        part = Part(content, ByteSpan(begins, content.size_bytes))
        unwrap(inspection, part, place, "zlib", "joblib")
        return
    is_text_here = is_text(head)
    is_pickle = judge_pickles(
        content, ledger, place.member, external_objects=place.is_torch, inner=inspection.loaded(place)
    )
    if is_text_here:
        scan_text(inspection, content, place)
    elif not is_pickle:
        _scan_data(inspection, content, place, head)
    if head.startswith(b"%PDF-"):
        judge_pdf(inspection, content, place)
    if not is_pickle and head.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        _judge_page(inspection, place)
    if not is_pickle and not is_text_here:
        probe(content, ledger, place.member, 1)
    if _ends_as_archive(content):
        scan_zip(inspection, content, place)


def _scan_data(inspection: Inspection, content: Ranged, place: Place, head: bytes) -> None:
    """What is neither text nor a pickle: a graph, objects of another language, a disk."""
    ledger = inspection.ledger
    for kind, at in islice(programs_in(content, _MOST_SEARCHED_BYTES), _MOST_PROGRAMS):
        words = f"a program for {kind} lies at byte {at}"
        ledger.add("native-code", words, member=place.member, offset=at)
    if scan_graph(inspection, content, place):
        return
    if is_torch7(head):
        scan_torch7(inspection, content, place)
    if content.size_bytes <= _MOST_SEARCHED_BYTES:
        judge_embedded(content, ledger, place.member)
    if _is_disk(content):
        ledger.add(
            "archive-unreadable", "it is the image of a disk, which is not read here", member=place.member
        )
    if _ARROW_STREAM.match(head):
        scan_arrow(inspection, content, place)
    if (block := hdf5_begins(content)) is not None:
        inspection.look(Part(content, ByteSpan(block, content.size_bytes)), place.within())


def _is_disk(content: Ranged) -> bool:
    """The image of a CD by the mark behind its empty beginning, Apple's by the block at its end."""
    size = content.size_bytes
    return content.read(ByteSpan(_ISO_AT, _ISO_AT + 5)) == b"CD001" or (
        size > _DMG_BYTES
        and content.read(ByteSpan(size - _DMG_BYTES, size)).startswith(b"koly\x00\x00\x00\x04")
    )


def _judge_page(inspection: Inspection, place: Place) -> None:
    if place.name.lower().endswith(_WEIGHTS):
        inspection.ledger.add("content-mismatch", "it is an HTML page", member=place.member)


def _ends_as_archive(content: Ranged, *, far: bool = True) -> bool:
    """Whether an end record of zip stands near the end; most archives have no comment behind it.

    far: look for one behind which there is a comment, too.
    """
    size = content.size_bytes
    near = content.read(ByteSpan(max(0, size - _NEAR_TAIL_BYTES), size))
    if b"PK\x05\x06" in near or size <= _NEAR_TAIL_BYTES or not far:
        return b"PK\x05\x06" in near
    return b"PK\x05\x06" in content.read(ByteSpan(max(0, size - _TAIL_BYTES), size))


def otherwise(inspection: Inspection, content: Ranged, place: Place, kind: str) -> None:
    """What has a format by its mark may still be a pickle from its first byte on, or end as an archive.

    Marks are chosen by whoever makes the file: the name of a tar's first member can be a pickle.
    """
    if may_begin(content.read(ByteSpan(0, HEAD_BYTES))):
        judge_pickles(content, inspection.ledger, place.member, inner=inspection.loaded(place))
    # What is read by its header only is to stay cheap, however large it is.
    if _ends_as_archive(content, far=kind != "safetensors"):
        scan_zip(inspection, content, place, member_of=kind in _WALKED)


def _both_ways(scanner: Scanner, kind: str) -> Scanner:
    def scan(inspection: Inspection, content: Ranged, place: Place) -> None:
        scanner(inspection, content, place)
        otherwise(inspection, content, place, kind)

    return scan


def scan_hdf5(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Keras keeps its configuration as text in an attribute; weights alone have none."""
    ledger = inspection.ledger
    ledger.saw("hdf5")
    judge_embedded(content, ledger, place.member)
    for name, at in outside_files(content):
        ledger.add("outside-file", f"reads the file {name[:120]!r}", member=place.member, offset=at)
    if (at_heap := compressed_links(content)) is not None:
        words = "the names of a group's members are compressed, and not read here"
        ledger.add("archive-unreadable", words, member=place.member, offset=at_heap)


def scan_engine(inspection: Inspection, content: Ranged, place: Place) -> None:
    """What TensorRT compiled for one device; since version 10 such a file may carry libraries to load."""
    inspection.ledger.saw("tensorrt")
    words = "an engine of TensorRT: it is compiled, and may bring libraries"
    inspection.ledger.add("native-library", words, member=place.member)
    for kind, at in islice(programs_in(content, _MOST_SEARCHED_BYTES), _MOST_PROGRAMS):
        words = f"a library for {kind} lies at byte {at}"
        inspection.ledger.add("native-code", words, member=place.member, offset=at)


_SCANNERS: dict[str, Scanner] = {
    "tar": scan_tar,
    "tflite": scan_tflite,
    "gzip": compressed("gzip", "gzip"),
    "bzip2": compressed("bzip2", "bzip2"),
    "xz": compressed("xz", "xz"),
    "lzma": compressed("lzma", "lzma"),
    "lz4": compressed("lz4", "lz4"),
    "zlib": compressed("zlib", "zlib"),
    "npy": scan_numpy,
    "safetensors": scan_safetensors,
    "gguf": scan_gguf,
    "java objects": scan_java,
    ".NET objects": scan_dotnet,
    "R objects": scan_r,
    "engine": scan_engine,
    "office": scan_office,
    "program": scan_program,
    "7z": scan_seven_zip,
    "rar": scan_rar,
    "cab": scan_cabinet,
    "ar": scan_ar,
    "cpio": scan_cpio,
    "rpm": scan_rpm,
    "lzip": compressed("lzip", "lzip"),
    "compress": compressed("compress", "compress"),
    "opaque": scan_opaque,
    "zstd": compressed("zstd", "zstd"),
    "skippable": scan_skippable,
    "hdf5": scan_hdf5,
    "parquet": scan_parquet,
    "arrow": scan_arrow,
}
SCANNERS: Final[dict[str, Scanner]] = {
    "zip": scan_zip,
    **{kind: _both_ways(scanner, kind) for kind, scanner in _SCANNERS.items()},
}
