"""Judges containers: zip and what is built on it, tar, and compressed streams.

Every member is looked at by content. What readers of archives could disagree about is a finding of its own.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

from moongate.core.spans import ByteSpan
from moongate.scan.inspection import BOMB_BYTES, BOMB_RATIO, Inspection, Place, Scanner
from moongate.weights import tar_members, unpacking, zip_directory
from moongate.weights.ranged import Held, Part, Ranged
from moongate.weights.zip_directory import BadZip, Directory, Header, Member

_STORAGE = re.compile(r"(?:^|.*/)(?:data|tensors|constants|storages|weights)/(?:weight_|tensor_)?\d+\Z")
_TORCH = re.compile(
    r"(?:^|/)(?:(?:data|constants|attributes)\.pkl|archive_format|serialized_exported_program\.json)\Z"
)
_TORCH_PICKLES = re.compile(r"(?:^|/)[\w.-]+\.pkl\Z")
_FULL_CHECKS = 64
_BEGINNING_BYTES = 32
_METHODS = {
    zip_directory.DEFLATED: "deflate",
    zip_directory.DEFLATE64: "deflate64",
    zip_directory.BZIP2: "bzip2",
    zip_directory.LZMA: "zip lzma",
    zip_directory.ZSTD: "zstd",
    zip_directory.XZ: "xz",
}
# Compressions whose mark others could have by chance; what does not unpack is not one of them.
_CHANCES = frozenset(("zlib", "lzma"))
_LONGEST_TARGET = 4096
_HOLE_BYTES = 24
_MAX_HOLE_BYTES = 4 << 20


def scan_zip(inspection: Inspection, content: Ranged, place: Place, *, member_of: bool = False) -> None:
    """Judges every member, and what lies around them.

    member_of: it may be a member of an archive whose members were looked at, so what is around it was, too.
    """
    ledger = inspection.ledger
    ledger.saw("zip")
    try:
        directory = zip_directory.read_directory(content)
    except BadZip as bad:
        _without_directory(inspection, content, place, str(bad))
        return
    is_torch = any(_TORCH.search(member.name) for member in directory.members)
    if is_torch:
        ledger.saw("torch")
    for oddity in directory.oddities:
        ledger.add("archive-structure", oddity, member=place.member)
    _judge_names(inspection, directory.members, place)
    if _is_bomb(inspection, directory.members, place):
        return
    headers = _check_headers(inspection, content, directory, place, is_torch=is_torch)
    for member in directory.members:
        if not member.is_folder:
            _look_at(inspection, content, member, headers.get(member.header_at), place, is_torch=is_torch)
    if not member_of:
        _judge_edges(inspection, content, directory, place)
    _judge_holes(inspection, content, directory, headers, place)


def _judge_names(inspection: Inspection, members: Sequence[Member], place: Place) -> None:
    for name, times in Counter(member.name for member in members).items():
        if times > 1:
            words = f"{times} members are named {name}"
            inspection.ledger.add("archive-structure", words, member=place.member)
    for member in members:
        judge_name(inspection, member.name, place)
        if member.other_name not in {"", member.name}:
            words = f"readers call a member {member.name[:80]} or {member.other_name[:80]}"
            inspection.ledger.add("archive-structure", words, member=place.member)
            judge_name(inspection, member.other_name, place)


def judge_name(
    inspection: Inspection, name: str, place: Place, *, link: bool = False, target: str = ""
) -> None:
    """Whether a member would leave the folder that the archive is unpacked to."""
    if leaves(name):
        inspection.ledger.add("archive-slip", f"a member is named {name[:200]}", member=place.member)
    if link and leaves(target):
        words = f"{name[:100]} is a link to {target[:100]}"
        inspection.ledger.add("archive-slip", words, member=place.member)


def leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return (
        name.startswith(("/", "\\")) or ".." in parts or bool(re.match(r"[A-Za-z]:", name)) or "\x00" in name
    )


def _is_bomb(inspection: Inspection, members: Sequence[Member], place: Place) -> bool:
    packed = sum(member.packed_bytes for member in members)
    size = sum(member.size_bytes for member in members)
    if size > BOMB_BYTES and size > BOMB_RATIO * max(packed, 1):
        words = f"{packed} bytes unpack to {size}"
        inspection.ledger.add("archive-bomb", words, member=place.member)
        return True
    return False


def _check_headers(
    inspection: Inspection, content: Ranged, directory: Directory, place: Place, *, is_torch: bool
) -> dict[int, Header]:
    """The header of each member, compared with its line in the directory; of storages only some."""
    headers: dict[int, Header] = {}
    storages = 0
    for member in directory.members:
        is_storage = is_torch and _STORAGE.match(member.name) is not None
        storages += is_storage
        if is_storage and storages > _FULL_CHECKS:
            continue
        header = zip_directory.read_header(content, member, _BEGINNING_BYTES)
        if header is None:
            words = f"there is no header where {member.name[:100]} should be"
            inspection.ledger.add("archive-structure", words, member=place.member)
            continue
        headers[member.header_at] = header
        _compare(inspection, member, header, place)
    return headers


def _compare(inspection: Inspection, member: Member, header: Header, place: Place) -> None:
    differences = [
        word
        for word, one, other in (
            ("name", member.name, header.name),
            ("method", member.method, header.method),
            ("flags", member.flags & 0x41, header.flags & 0x41),
        )
        if one != other
    ]
    if differences:
        words = f"the {', '.join(differences)} of {member.name[:80]} differ from its header's"
        inspection.ledger.add("archive-structure", words, member=place.member)


def _look_at(
    inspection: Inspection,
    content: Ranged,
    member: Member,
    header: Header | None,
    place: Place,
    *,
    is_torch: bool,
) -> None:
    if header is None:
        return
    inner = place.inside(member.name, is_torch=is_torch)
    plain = member.method == zip_directory.STORED
    if is_torch and plain and not member.is_encrypted and _STORAGE.match(member.name) and _is_inert(header):
        return
    data = Part(content, ByteSpan(header.data_at, header.data_at + max(member.packed_bytes, 0)))
    held = _unpacked(inspection, data, member, inner)
    if held is not None and member.is_link:
        target = held.read(ByteSpan(0, _LONGEST_TARGET)).decode("utf-8", "replace")
        judge_name(inspection, member.name, place, link=True, target=target)
    if held is not None:
        inspection.look(held, inner)


def _is_inert(header: Header) -> bool:
    """Whether a tensor's bytes begin like numbers, not like something that is loaded on its own."""
    return not header.beginning.startswith(
        (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x7fELF")
    )


def _unpacked(inspection: Inspection, data: Ranged, member: Member, inner: Place) -> Ranged | None:
    """The content of a member; None when it cannot be looked at, which is then a finding."""
    ledger = inspection.ledger
    if member.method == zip_directory.STORED:
        if member.is_encrypted:
            _judge_encryption(inspection, data.read(ByteSpan(0, 1 << 20)), member, inner)
        return data
    method = _METHODS.get(member.method)
    if method not in unpacking.DECODERS:
        ledger.add("archive-unreadable", f"compressed by method {member.method}", member=inner.member)
        return None
    bound = inspection.may_unpack(min(unpacking.MAX_UNPACKED_BYTES, member.size_bytes + 1))
    out = unpacking.unpack(data, method, bound)
    inspection.unpacked(len(out.data))
    if member.is_encrypted:
        if out.broken:
            ledger.add("archive-encrypted", "encrypted", member=inner.member)
            return None
        _judge_encryption(inspection, out.data, member, inner)
    elif out.broken and not out.data:
        ledger.add("archive-unreadable", "its compression is broken", member=inner.member)
        return None
    elif out.cut and bound <= member.size_bytes:
        ledger.add("too-large", f"only {len(out.data)} bytes of it were looked at", member=inner.member)
    elif out.cut or len(out.data) != member.size_bytes:
        ledger.add("archive-structure", "it unpacks to another size than it claims", member=inner.member)
    if not out.cut and not out.broken and zlib.crc32(out.data) != member.crc:
        ledger.add("archive-oddity", "its checksum is wrong", member=inner.member)
    return Held(out.data)


def _judge_encryption(inspection: Inspection, data: bytes, member: Member, inner: Place) -> None:
    if zlib.crc32(data) == member.crc:
        inspection.ledger.add(
            "archive-structure", "it claims to be encrypted and is not", member=inner.member
        )
    else:
        inspection.ledger.add("archive-encrypted", "encrypted", member=inner.member)


def _judge_edges(
    inspection: Inspection,
    content: Ranged,
    directory: Directory,
    place: Place,
) -> None:
    """What lies before, between and behind the members is looked at, too."""
    begins = min((member.header_at for member in directory.members), default=directory.starts_at)
    # TensorFlow Lite carries vocabularies and labels in an archive behind the model.
    is_lite = content.read(ByteSpan(4, 8)) == b"TFL3"
    if begins > 0 and not is_lite:
        inspection.ledger.add(
            "archive-oddity", f"{begins} bytes stand before the archive", member=place.member
        )
        inspection.look(Part(content, ByteSpan(0, begins)), place.inside("(before the archive)"))
    if directory.ends_at < content.size_bytes:
        behind = ByteSpan(directory.ends_at, content.size_bytes)
        words = f"{behind.length} bytes stand behind the archive"
        inspection.ledger.add("archive-oddity", words, member=place.member)
        inspection.look(Part(content, behind), place.inside("(behind the archive)"))


def _judge_holes(
    inspection: Inspection,
    content: Ranged,
    directory: Directory,
    headers: dict[int, Header],
    place: Place,
) -> None:
    """Members that no line of the directory names hide between those that it does."""
    ordered = sorted(directory.members, key=lambda member: member.header_at)
    limits = [member.header_at for member in ordered[1:]] + [directory.directory_at]
    for member, limit in zip(ordered, limits, strict=False):
        header = headers.get(member.header_at)
        if header is None:
            continue
        end = header.data_at + member.packed_bytes
        if end > limit:
            words = f"{member.name[:100]} reaches into what follows it"
            inspection.ledger.add("archive-structure", words, member=place.member)
        elif limit - end > _HOLE_BYTES:
            hole = content.read(ByteSpan(end, min(limit, end + _MAX_HOLE_BYTES)))
            if b"PK\x03\x04" in hole:
                words = f"a member that the directory does not name lies behind {member.name[:100]}"
                inspection.ledger.add("archive-structure", words, member=place.member)
                inspection.look(Held(hole[hole.find(b"PK\x03\x04") :]), place.inside("(between members)"))
            elif any(hole):
                words = f"{limit - end} bytes lie behind {member.name[:100]}"
                inspection.ledger.add("archive-oddity", words, member=place.member)
                inspection.look(Held(hole), place.inside("(between members)"))


def _without_directory(inspection: Inspection, content: Ranged, place: Place, why: str) -> None:
    """No directory: the members are found by their headers, as tolerant readers do."""
    inspection.ledger.add("archive-unreadable", why, member=place.member)
    at, count = 0, 0
    while count < 1000:
        data = content.read(ByteSpan(at, at + (1 << 20)))
        found = data.find(b"PK\x03\x04")
        if found < 0:
            if at + len(data) >= content.size_bytes:
                return
            at += max(1, len(data) - 3)
            continue
        at += found
        probe = Member("", 0, 0, 0, 0, 0, at, is_link=False)
        header = zip_directory.read_header(content, probe)
        if header is None:
            return
        name = header.name or f"(at {at})"
        length = header.packed_bytes or max(0, content.size_bytes - header.data_at)
        part = Part(content, ByteSpan(header.data_at, header.data_at + length))
        method = _METHODS.get(header.method)
        inner: Ranged = part
        if method in unpacking.DECODERS:
            out = unpacking.unpack(part, method, inspection.may_unpack(unpacking.MAX_UNPACKED_BYTES))
            inspection.unpacked(len(out.data))
            inner = Held(out.data)
        if header.packed_bytes or method:
            inspection.look(inner, place.inside(name))
        at = header.data_at + (header.packed_bytes or 1)
        count += 1


def scan_tar(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("tar")
    try:
        for member in tar_members.members(content):
            judge_name(inspection, member.name, place, link=member.kind == "link", target=member.target)
            if member.kind == "file":
                inspection.look(Part(content, member.span), place.inside(member.name))
            elif member.kind == "other":
                words = f"{member.name[:100]} is a device or pipe"
                inspection.ledger.add("archive-oddity", words, member=place.member)
    except (tar_members.BadTar, ValueError) as bad:
        inspection.ledger.add("archive-unreadable", str(bad)[:200], member=place.member)


def scan_skippable(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Frames that readers of lz4 and zstd step over, and what stands behind them."""
    behind = unpacking.past_skippable(content, 0)
    if behind < content.size_bytes:
        inspection.look(Part(content, ByteSpan(behind, content.size_bytes)), place.within())
    inspection.look_anyhow(content, place)


def scan_opaque(inspection: Inspection, content: Ranged, place: Place) -> None:
    """An archive whose compression is not read here."""
    del content
    inspection.ledger.add("archive-unreadable", "this kind of archive is not read here", member=place.member)


def compressed(method: str, name: str) -> Scanner:
    """The scanner of one compression."""

    def scan(inspection: Inspection, content: Ranged, place: Place) -> None:
        if method not in unpacking.DECODERS:
            scan_opaque(inspection, content, place)
            return
        if unwrap(inspection, content, place, method, name):
            return
        if method not in _CHANCES:
            words = "its compression is broken"
            inspection.ledger.add("archive-unreadable", words, member=place.member)
        inspection.look_anyhow(content, place)

    return scan


def unwrap(inspection: Inspection, content: Ranged, place: Place, method: str, name: str) -> bool:
    """Decompresses within bounds and looks inside; whether anything came out."""
    out = unpacking.unpack(content, method, inspection.may_unpack(unpacking.MAX_UNPACKED_BYTES))
    inspection.unpacked(len(out.data))
    if out.broken and not out.data:
        return False
    inspection.ledger.saw(name)
    if out.cut:
        if len(out.data) > BOMB_RATIO * max(out.used, 1):
            words = f"{out.used} bytes unpack to more than {len(out.data)}"
            inspection.ledger.add("archive-bomb", words, member=place.member)
        words = f"only its first {len(out.data)} bytes were looked at"
        inspection.ledger.add("too-large", words, member=place.member)
    elif out.broken:
        words = f"its compression breaks off after {len(out.data)} bytes"
        inspection.ledger.add("archive-unreadable", words, member=place.member)
    inspection.look(Held(out.data), place.within())
    if not out.cut and not out.broken and out.used < content.size_bytes and method != "zlib":
        rest = Part(content, ByteSpan(out.used, content.size_bytes))
        inspection.look(rest, place.inside("(behind the compressed data)"))
    return True
