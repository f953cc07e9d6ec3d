"""Writes small archives of kinds that no library of Python's writes: RAR, cabinets, ar, cpio, rpm, BCJ2."""

from __future__ import annotations

import struct
import zlib

Members = dict[str, bytes]


def rar4(
    members: Members, *, method: int = 0x30, flags: int = 0, mode: int = 0o100644, main: int = 0
) -> bytes:
    """method: 0x30 is stored. flags: 4 is encrypted, 2 goes on in another volume."""
    out = b"Rar!\x1a\x07\x00" + struct.pack("<HBHH6x", 0, 0x73, main, 13)
    for name, data in members.items():
        raw = name.encode()
        sizes = (len(data), len(data), 3, zlib.crc32(data), 0, 29, method, len(raw), mode)
        told = struct.pack("<IIBIIBBHI", *sizes) + raw
        out += struct.pack("<HBHH", 0, 0x74, 0x8000 | flags, 7 + len(told)) + told + data
    return out + struct.pack("<HBHH", 0, 0x7B, 0x4000, 7)


def _vint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def _block(kind: int, told: bytes, extra: bytes = b"", data: bytes = b"", flags: int = 0) -> bytes:
    flags |= (1 if extra else 0) | (2 if data else 0)
    head = _vint(kind) + _vint(flags)
    head += (_vint(len(extra)) if extra else b"") + (_vint(len(data)) if data else b"") + told + extra
    head = _vint(len(head)) + head
    return struct.pack("<I", zlib.crc32(head)) + head + data


def rar5(members: Members, *, packing: int = 0, extra: bytes = b"", flags: int = 0, sizes: int = -1) -> bytes:
    """packing: 0 is stored. extra: a record of each member. sizes: what each claims to unpack to."""
    out = b"Rar!\x1a\x07\x01\x00" + _block(1, _vint(0))
    for name, data in members.items():
        raw = name.encode()
        told = _vint(0) + _vint(len(data) if sizes < 0 else sizes) + _vint(0o100644) + _vint(packing)
        out += _block(2, told + _vint(1) + _vint(len(raw)) + raw, extra, data, flags)
    return out + _block(5, _vint(0))


def rar5_record(kind: int, told: bytes) -> bytes:
    return _vint(len(told) + 1) + _vint(kind) + told


def rar5_link(target: str) -> bytes:
    raw = target.encode()
    return rar5_record(5, _vint(1) + _vint(0) + _vint(len(raw)) + raw)


def ar(members: Members) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        line = f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        out += line.encode() + data + b"\n" * (len(data) % 2)
    return out


def cpio(members: Members, *, mode: int = 0o100644, old: bool = False) -> bytes:
    return b"".join(
        _cpio_old(name, data, mode) if old else _cpio_new(name, data, mode)
        for name, data in (*members.items(), ("TRAILER!!!", b""))
    )


def _cpio_new(name: str, data: bytes, mode: int) -> bytes:
    raw = name.encode() + b"\x00"
    numbers = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + "".join(f"{number:08x}" for number in numbers).encode() + raw
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _cpio_old(name: str, data: bytes, mode: int) -> bytes:
    raw = name.encode() + b"\x00"
    head = f"070707{0:06o}{1:06o}{mode:06o}{0:06o}{0:06o}{1:06o}{0:06o}{0:011o}{len(raw):06o}{len(data):011o}"
    return head.encode() + raw + data


def rpm(payload: bytes, script: str = "") -> bytes:
    def header(lines: bytes, store: bytes) -> bytes:
        return (
            b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(lines) // 16, len(store)) + lines + store
        )

    store = script.encode() + b"\x00"
    own = header(struct.pack(">IIII", 1024, 6, 0, 1), store) if script else header(b"", b"")
    return b"\xed\xab\xee\xdb\x03\x00" + bytes(90) + header(b"", b"") + own + payload


def cabinet(members: Members, method: int = 1) -> bytes:
    """One folder of one block each."""
    names = [name.encode() + b"\x00" for name in members]
    lines_at = 36
    files_at = lines_at + 8 * len(names)
    data_at = files_at + sum(16 + len(name) for name in names)
    lines = files = blocks = b""
    for number, (name, data) in enumerate(zip(names, members.values(), strict=True)):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = b"CK" + packer.compress(data) + packer.flush() if method == 1 else data
        lines += struct.pack("<IHH", data_at + len(blocks), 1, method)
        files += struct.pack("<IIHHHH", len(data), 0, number, 0, 0, 0x20) + name
        blocks += struct.pack("<IHH", 0, len(packed), len(data)) + packed
    size = data_at + len(blocks)
    head = struct.pack(
        "<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, files_at, 0, 3, 1, len(names), len(names), 0, 1, 0
    )
    return head + lines + files + blocks


class _Chooser:
    """The range coder that BCJ2 keeps its choices with."""

    def __init__(self) -> None:
        self.low, self.range, self.out = 0, 0xFFFFFFFF, bytearray()
        self.cache, self.pending = 0, 1
        self.chances = [1024] * 258

    def bit(self, place: int, chosen: bool) -> None:
        chance = self.chances[place]
        bound = (self.range >> 11) * chance
        if chosen:
            self.low, self.range = self.low + bound, self.range - bound
            self.chances[place] = chance - (chance >> 5)
        else:
            self.range = bound
            self.chances[place] = chance + ((2048 - chance) >> 5)
        while self.range < 1 << 24:
            self.range = self.range << 8 & 0xFFFFFFFF
            self.shift()

    def shift(self) -> None:
        if self.low < 0xFF000000 or self.low >= 1 << 32:
            carry = self.low >> 32
            self.out.append((self.cache + carry) & 0xFF)
            self.out += bytes(((0xFF + carry) & 0xFF,)) * (self.pending - 1)
            self.pending, self.cache = 0, self.low >> 24 & 0xFF
        self.pending += 1
        self.low = (self.low & 0x00FFFFFF) << 8

    def done(self) -> bytes:
        for _ in range(5):
            self.shift()
        return bytes(self.out)


def bcj2(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The four streams: what is left, calls, jumps, and where they were."""
    main, calls, jumps, chooser = bytearray(), bytearray(), bytearray(), _Chooser()
    at, last = 0, 0
    while at < len(data):
        letter = data[at]
        main.append(letter)
        at += 1
        if letter & 0xFE == 0xE8 or (last == 0x0F and letter & 0xF0 == 0x80):
            if at == len(data):
                break
            place = last if letter == 0xE8 else 256 if letter == 0xE9 else 257
            chosen = at + 4 <= len(data)
            chooser.bit(place, chosen)
            if chosen:
                target = (int.from_bytes(data[at : at + 4], "little") + at + 4) & 0xFFFFFFFF
                (calls if letter == 0xE8 else jumps).extend(target.to_bytes(4, "big"))
                at += 4
                last = data[at - 1]
                continue
        last = letter
    return bytes(main), bytes(calls), bytes(jumps), chooser.done()


def seven_zip_of_bcj2(name: str, data: bytes) -> bytes:
    streams = bcj2(data)

    def number(value: int) -> bytes:
        return bytes((value,)) if value < 128 else b"\xff" + struct.pack("<Q", value)

    folder = b"\x04" + b"\x14\x03\x03\x01\x1b\x04\x01" + b"\x01\x00" * 3
    folder += b"\x00\x01\x01\x02\x02\x03" + b"\x04\x05\x06\x03"
    sizes = b"".join(number(size) for size in (len(data), *(len(stream) for stream in streams[:3])))
    names = b"\x00" + name.encode("utf-16-le") + b"\x00\x00"
    header = b"\x01\x04\x06\x00\x04\x09" + b"".join(number(len(stream)) for stream in streams) + b"\x00"
    header += b"\x07\x0b\x01\x00" + folder + b"\x0c" + sizes + b"\x00\x00"
    header += b"\x05\x01\x11" + number(len(names)) + names + b"\x00\x00"
    packed = b"".join(streams)
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + packed + header


class _BitWriter:
    def __init__(self) -> None:
        self.value = self.count = 0

    def put(self, value: int, bits: int) -> None:
        self.value |= value << self.count
        self.count += bits

    def code(self, value: int, bits: int) -> None:
        self.put(int(format(value, f"0{bits}b")[::-1], 2), bits)

    def done(self) -> bytes:
        return self.value.to_bytes(-(-self.count // 8), "little")


def deflated64(head: bytes, times: int, tail: bytes = b"") -> bytes:
    """A block of fixed codes: `head`, its last byte once more and again `times` over (one match), `tail`."""
    bits = _BitWriter()
    bits.put(0b011, 3)

    def literal(letter: int) -> None:
        bits.code(0x30 + letter, 8) if letter < 144 else bits.code(0x190 + letter - 144, 9)

    for letter in head:
        literal(letter)
    if times:
        bits.code(0xC0 + 285 - 280, 8)
        bits.put(times - 3, 16)
        bits.code(0, 5)
    for letter in tail:
        literal(letter)
    bits.code(0, 7)
    return bits.done()


def lzw(data: bytes) -> bytes:
    """As `compress` writes it, with codes of 9 bits, cleared before they would grow."""
    codes: list[int] = []
    for at in range(0, len(data), 200):
        codes += data[at : at + 200]
        codes += [256] + [0] * (-(len(codes) + 1) % 8)
    bits = _BitWriter()
    for code in codes:
        bits.put(code, 9)
    return b"\x1f\x9d\x90" + bits.done()
