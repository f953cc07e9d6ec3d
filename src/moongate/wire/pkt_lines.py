"""git's smart protocol where we speak it ourselves: packet lines, and a push but for its pack.

Fetches are git's own business from the first byte to the last; only what is in front of a push's pack is read
here. A reader raises `BadRequest` and never anything else.

Source: git `Documentation/gitprotocol-common.txt`, `gitprotocol-pack.txt`, `gitprotocol-http.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from moongate.core.errors import BadRequest
from moongate.core.names import shown

FLUSH = b"0000"
NOWHERE = "0" * 40
"""The old oid of a ref that is made, and the new one of a ref that goes."""

MAX_HEAD_BYTES = 1 << 20
"""The commands of a push; some ten thousand refs."""

PUSH_ABILITIES = "report-status delete-refs atomic quiet ofs-delta side-band-64k object-format=sha1"

_MAX_LINE_BYTES = 65516
_BAND_BYTES = 65500
_COMMAND = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (\S+)")
_PACK_HEAD_BYTES = 12


@dataclass(frozen=True, slots=True)
class RefCommand:
    """One ref that a push wants changed: from `old` to `new`, either of which may be nowhere."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class PushHead:
    """What stands in front of a push's pack."""

    commands: tuple[RefCommand, ...]
    abilities: frozenset[str]

    @property
    def brings_pack(self) -> bool:
        """A pack follows unless refs are only deleted."""
        return any(command.new is not None for command in self.commands)

    @property
    def has_bands(self) -> bool:
        """Whether the client reads words for its user beside the report."""
        return "side-band-64k" in self.abilities


def packet(data: bytes | str) -> bytes:
    """One packet line."""
    raw = data.encode() if isinstance(data, str) else data
    return b"%04x%s" % (len(raw) + 4, raw)


def advertisement(refs: Mapping[str, str], agent: str) -> bytes:
    """The refs as a push is offered them, by name, with what may be asked for."""
    abilities = f"{PUSH_ABILITIES} agent={agent}"
    lines = [f"{oid} {name}" for name, oid in sorted(refs.items())] or [f"{NOWHERE} capabilities^{{}}"]
    lines[0] += f"\0{abilities}"
    told = b"".join(packet(f"{line}\n") for line in lines)
    return packet("# service=git-receive-pack\n") + FLUSH + told + FLUSH


def read_push_head(data: bytes | bytearray) -> tuple[PushHead, int] | None:
    """The commands at the start of a push, and where its pack begins; None: more is to come.

    Lines that say where a shallow clone ends are passed over: what it cannot know is here.

    Raises:
        BadRequest: it is no push, or longer than any.
    """
    lines: list[bytes] = []
    at = 0
    while True:
        length = _length(data, at)
        if length is None or (length and at + length > len(data)):
            if len(data) > MAX_HEAD_BYTES:
                raise BadRequest("the commands of this push are too long")
            return None
        if length == 0:
            return _push_head(lines), at + len(FLUSH)
        lines.append(bytes(data[at + 4 : at + length]))
        at += length
        if at > MAX_HEAD_BYTES:
            raise BadRequest("the commands of this push are too long")


def objects_announced(pack: bytes | bytearray) -> int | None:
    """How many objects a pack says that it holds; None: its first 12 bytes are not here yet.

    Raises:
        BadRequest: it is no pack.
    """
    if len(pack) < _PACK_HEAD_BYTES:
        return None
    if pack[:4] != b"PACK" or int.from_bytes(pack[4:8]) not in (2, 3):
        raise BadRequest("what came after the commands of this push is no pack")
    return int.from_bytes(pack[8:12])


def report(unpacked: str, results: Sequence[tuple[str, str | None]], *, has_bands: bool) -> bytes:
    """What became of a push.

    Args:
        unpacked: `ok`, or why its objects were not taken.
        results: each ref by its name, with why not; None: it was changed.
    """
    lines = [f"unpack {_line(unpacked)}\n"]
    for name, why_not in results:
        lines.append(f"ok {name}\n" if why_not is None else f"ng {name} {_line(why_not)}\n")
    told = b"".join(packet(line) for line in lines) + FLUSH
    return b"".join(_banded(1, told)) + FLUSH if has_bands else told


def words(text: str) -> bytes:
    """Lines for the user at the other end; git shows each with `remote:` before it."""
    return b"".join(_banded(2, text.encode("utf-8", "replace")))


def _banded(band: int, data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _BAND_BYTES):
        yield packet(bytes([band]) + data[at : at + _BAND_BYTES])


def _line(text: str) -> str:
    return " ".join(text.split())


def _length(data: bytes | bytearray, at: int) -> int | None:
    raw = bytes(data[at : at + 4])
    if len(raw) < 4:
        return None
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", raw):
        raise BadRequest("not a packet line")
    length = int(raw, 16)
    if length in (1, 2, 3, 4) or length > _MAX_LINE_BYTES + 4:
        raise BadRequest("a packet line of no length that there is")
    return length


def _push_head(lines: Iterable[bytes]) -> PushHead:
    commands: list[RefCommand] = []
    abilities: frozenset[str] = frozenset()
    for line in lines:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise BadRequest("a ref's name that is no UTF-8") from None
        if text.startswith("shallow "):
            continue
        command, _, said = text.partition("\0")
        if not commands:
            abilities = frozenset(said.split())
        commands.append(_command(command.removesuffix("\n")))
    names = [command.name for command in commands]
    if len(set(names)) != len(names):
        raise BadRequest("a push that names a ref twice")
    return PushHead(tuple(commands), abilities)


def _command(text: str) -> RefCommand:
    found = _COMMAND.fullmatch(text)
    if found is None:
        raise BadRequest(f"not a command of a push: {shown(text)}")
    old, new = (None if oid == NOWHERE else oid for oid in found.group(1, 2))
    if old is None and new is None:
        raise BadRequest(f"a push that changes nothing of {shown(found[3])}")
    return RefCommand(found[3], old, new)
