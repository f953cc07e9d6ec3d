"""`judge`: one content in, one report out. The table of scanners is here, by format.

What has no format of its own is tried as a pickle: an unpickler asks for no name and no magic. So is what has
one, for a pickle may stand before an archive, and an archive behind anything.
"""

from __future__ import annotations

from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.archives import compressed, scan_tar, scan_zip, unwrap
from moongate.scan.findings import Report
from moongate.scan.inspection import Inspection, Place, Scanner
from moongate.scan.ledger import Counted, Ledger
from moongate.scan.pickles import judge_pickles, probe
from moongate.scan.sniff import is_text
from moongate.scan.tensors import scan_gguf, scan_numpy, scan_safetensors
from moongate.weights.ranged import Part, Ranged

_TAIL_BYTES = 1 << 10
_FORMER_JOBLIB_BYTES = 32
_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".safetensors", ".gguf", ".onnx", ".h5", ".keras", ".pb",
            ".npy", ".npz", ".joblib", ".model", ".tflite", ".msgpack", ".pickle")  # fmt: skip
_PROGRAMS = (".exe", ".dll", ".so", ".dylib", ".elf", ".o", ".a", ".pyd", ".node", ".com", ".scr")


def judge(content: Ranged, name: str = "") -> Report:
    """What content is and whether it is safe to load. `name` is only repeated in words."""
    ledger = Ledger()
    counted = Counted(content, ledger)
    Inspection(ledger, SCANNERS, scan_anything).look(counted, Place(name.rsplit("/", 1)[-1]))
    return ledger.report()


def scan_program(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("program")
    named_so = place.name.lower().endswith(_PROGRAMS) or ".so." in place.name
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
    is_pickle = judge_pickles(content, ledger, place.member, external_objects=place.is_torch)
    if not is_pickle and head.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        _judge_page(inspection, place)
    if not is_pickle and not _is_plain_text(head):
        probe(content, ledger, place.member, 1)
    if _ends_as_archive(content):
        scan_zip(inspection, content, place)


def _judge_page(inspection: Inspection, place: Place) -> None:
    if place.name.lower().endswith(_WEIGHTS):
        inspection.ledger.add("content-mismatch", "it is an HTML page", member=place.member)


def _is_plain_text(head: bytes) -> bool:
    return is_text(head)


def _ends_as_archive(content: Ranged) -> bool:
    tail = content.read(ByteSpan(max(0, content.size_bytes - _TAIL_BYTES), content.size_bytes))
    return b"PK\x05\x06" in tail


def scan_safetensors_and_tail(inspection: Inspection, content: Ranged, place: Place) -> None:
    scan_safetensors(inspection, content, place)
    if _ends_as_archive(content):
        scan_zip(inspection, content, place)


SCANNERS: Final[dict[str, Scanner]] = {
    "zip": scan_zip,
    "tar": scan_tar,
    "gzip": compressed("gzip", "gzip"),
    "bzip2": compressed("bzip2", "bzip2"),
    "xz": compressed("xz", "xz"),
    "lzma": compressed("lzma", "lzma"),
    "lz4": compressed("lz4", "lz4"),
    "zlib": compressed("zlib", "zlib"),
    "npy": scan_numpy,
    "safetensors": scan_safetensors_and_tail,
    "gguf": scan_gguf,
    "program": scan_program,
}
