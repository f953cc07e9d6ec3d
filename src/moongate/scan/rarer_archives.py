"""Judges archives that are seldom part of a model: 7z, RAR, cabinets, ar, cpio, and packages of systems.

Their members are judged as any archive's. What is packed in a way that only a library in C reads (PPMd, RAR's
own compressions, LZX) is told as not looked at: a fault in such a library would let a file judge itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from moongate.core.spans import ByteSpan
from moongate.scan.archives import judge_name
from moongate.scan.inspection import Inspection, Place
from moongate.weights import cabinet_members, plain_archives, rar_members, seven_zip, unpacking
from moongate.weights.plain_archives import BadArchive, PlainMember
from moongate.weights.ranged import Held, Part, Ranged

_LONGEST_TARGET = 4096


def scan_seven_zip(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("7z")
    try:
        for name, data in seven_zip.members(content, inspection.may_unpack(unpacking.MAX_UNPACKED_BYTES)):
            _look_at(inspection, name, data, place)
    except seven_zip.BadSevenZip as bad:
        rule = "archive-encrypted" if bad.encrypted else "archive-unreadable"
        inspection.ledger.add(rule, bad.message, member=place.member)


def _look_at(inspection: Inspection, name: str, data: bytes, place: Place) -> None:
    inspection.unpacked(len(data))
    judge_name(inspection, name, place)
    inspection.look(Held(data), place.inside(name))


def scan_rar(inspection: Inspection, content: Ranged, place: Place) -> None:
    """What is stored is looked at; RAR's own compressions are not read here, and its names are."""
    ledger = inspection.ledger
    ledger.saw("rar")
    try:
        for member in rar_members.members(content):
            inner = place.inside(member.name)
            if member.kind != "rest":
                _judge_rar_name(inspection, member, place)
            if member.encrypted:
                ledger.add("archive-encrypted", "encrypted", member=inner.member)
            elif member.split:
                ledger.add("archive-unreadable", "a part of it is in another volume", member=inner.member)
            elif member.stored and member.kind in {"file", "rest", "service"}:
                inspection.look(Part(content, member.span), inner)
            elif member.kind in {"file", "service"} and member.size_bytes:
                words = "packed by a compression of RAR's own, which is not read here"
                ledger.add("archive-unreadable", words, member=inner.member)
    except rar_members.BadRar as bad:
        rule = "archive-encrypted" if bad.encrypted else "archive-unreadable"
        ledger.add(rule, bad.message, member=place.member)


def _judge_rar_name(inspection: Inspection, member: rar_members.RarMember, place: Place) -> None:
    judge_name(inspection, member.name, place, link=bool(member.target), target=member.target)
    if member.other_name and member.other_name != member.name:
        judge_name(inspection, member.other_name, place)


def scan_cabinet(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("cab")
    bound = inspection.may_unpack(unpacking.MAX_UNPACKED_BYTES)
    try:
        for name, data in cabinet_members.members(content, bound):
            _look_at(inspection, name.replace("\\", "/"), data, place)
    except cabinet_members.BadCabinet as bad:
        inspection.ledger.add("archive-unreadable", bad.message, member=place.member)


def scan_ar(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Libraries to link, and packages of Debian, whose first member says so."""
    inspection.ledger.saw("ar")
    if content.read(ByteSpan(8, 21)) == b"debian-binary":
        words = "it installs programs, and may run scripts while it does"
        inspection.ledger.add("native-library", words, member=place.member)
    _walk(inspection, content, place, plain_archives.ar_members)


def scan_cpio(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("cpio")
    _walk(inspection, content, place, plain_archives.cpio_members)


def _walk(
    inspection: Inspection,
    content: Ranged,
    place: Place,
    members: Callable[[Ranged], Iterator[PlainMember]],
) -> None:
    try:
        for member in members(content):
            target = ""
            if member.kind == "link":
                reach = ByteSpan(member.span.start, min(member.span.end, member.span.start + _LONGEST_TARGET))
                target = content.read(reach).decode("utf-8", "replace")
            judge_name(inspection, member.name, place, link=bool(target), target=target)
            if member.kind in {"file", "rest"}:
                inspection.look(Part(content, member.span), place.inside(member.name))
    except BadArchive as bad:
        inspection.ledger.add("archive-unreadable", str(bad), member=place.member)


def scan_rpm(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger = inspection.ledger
    ledger.saw("rpm")
    words = "it installs programs, and may run scripts while it does"
    ledger.add("native-library", words, member=place.member)
    try:
        scripts, files = plain_archives.rpm_parts(content)
    except BadArchive as bad:
        ledger.add("archive-unreadable", str(bad), member=place.member)
        return
    for number, script in enumerate(scripts):
        inspection.look(Held(script.encode()), place.inside(f"(script {number}).sh"))
    inspection.look(Part(content, files), place.inside("(files)"))
