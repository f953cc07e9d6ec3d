"""`glance`: the look before the stream, at the parts of content that can run code, and at no more.

Of a torch zip that is the directory and the pickles, some kilobytes at known places; of anything else the
beginning, as far as its scanner gets before it has read its share. What a glance finds is there; what it does
not find says nothing, for names choose what it looks at. The whole is judged when it is here: `engine.judge`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report, Severity
from moongate.scan.engine import SCANNERS, scan_anything
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Counted, Ledger
from moongate.scan.reach import INERT, MOST_BYTES
from moongate.scan.sniff import HEAD_BYTES, sniff
from moongate.weights import unpacking, zip_directory
from moongate.weights.ranged import Held, Part, Ranged
from moongate.weights.zip_directory import BadZip, Member

MOST_MEMBERS: Final = 12

_MEMBER_BYTES = 256 << 10
_CODE = (".pkl", ".pickle", ".json", ".py", "config", ".joblib", ".npy")
_BELIEVED = frozenset(
    {"pickle-call", "pickle-call-unknown", "pickle-import", "pickle-name", "pickle-build", "native-code"}
)
"""What a cut cannot make up; all else that a scanner says of a beginning may be the cut's doing."""


def glance(content: Ranged, name: str = "", reach_bytes: int = MOST_BYTES) -> Report:
    """What a first look finds; `clean` when that is nothing, which is no verdict on the content.

    reach_bytes: how much of the beginning is looked at.
    """
    ledger, kind = Ledger(), ""
    reach = min(content.size_bytes, reach_bytes)
    bounded = _Bounded(Counted(content, ledger), MOST_BYTES)
    place = Place(name.rsplit("/", 1)[-1])
    inspection = Inspection(ledger, SCANNERS, scan_anything)
    try:
        kind = sniff(bounded.read(ByteSpan(0, min(HEAD_BYTES, reach))), content.size_bytes)
        if kind in INERT:
            ledger.saw(kind)
        elif kind == "zip" and reach < content.size_bytes:
            _glance_at_zip(inspection, bounded, place)
        else:
            inspection.look(Part(Counted(content, ledger), ByteSpan(0, reach)), place)
    except Enough:
        pass
    report = ledger.report()
    return report if reach == content.size_bytes or kind == "zip" else _of_a_beginning(report)


def _of_a_beginning(report: Report) -> Report:
    findings = tuple(finding for finding in report.findings if finding.rule in _BELIEVED)
    is_dangerous = any(finding.severity >= Severity.HIGH for finding in findings)
    return replace(report, findings=findings, verdict="dangerous" if is_dangerous else "clean")


def _glance_at_zip(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("zip")
    try:
        directory = zip_directory.read_directory(content)
    except BadZip:
        return
    small = [one for one in directory.members if not one.is_folder and one.packed_bytes <= _MEMBER_BYTES]
    for member in sorted(small, key=lambda one: not one.name.lower().endswith(_CODE))[:MOST_MEMBERS]:
        header = zip_directory.read_header(content, member)
        if header is None:
            continue
        data = Part(content, ByteSpan(header.data_at, header.data_at + max(0, member.packed_bytes)))
        held = _unpacked(data, member)
        if held is not None:
            inspection.look(held, place.inside(member.name, is_torch=True))


def _unpacked(data: Ranged, member: Member) -> Ranged | None:
    if member.method == zip_directory.STORED:
        return data
    if member.method == zip_directory.DEFLATED:
        return Held(unpacking.unpack(data, "deflate", _MEMBER_BYTES * 8).data)
    return None


class Enough(BaseException):
    """The share is read, or there is no more; no handler of the scanners is to take it for trouble."""


class _Bounded:
    """Content that ends the glance when more than a share of it is wanted."""

    def __init__(self, content: Ranged, most_bytes: int) -> None:
        self._content = content
        self._left_bytes = most_bytes

    @property
    def size_bytes(self) -> int:
        return self._content.size_bytes

    def read(self, span: ByteSpan) -> bytes:
        length = min(span.end, self.size_bytes) - span.start
        if length > self._left_bytes:
            raise Enough
        self._left_bytes -= max(0, length)
        return self._content.read(span)
