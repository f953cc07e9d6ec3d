"""Laws of the scanner: any bytes end in a verdict, and what is judged does not depend on how it is named."""

from __future__ import annotations

import gzip
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.verdicts import VERDICTS, Report
from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, zipped
from support.scan_samples.containers import tarred

MARKS = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x5d\x00\x00\x80\x00"),
    *(b"\x78\x9c", b"\x04\x22\x4d\x18", b"7z\xbc\xaf\x27\x1c\x00\x04", b"\x93NUMPY\x01\x00", b"ZF0x", b""),
    *(b"GGUF\x03\x00\x00\x00", b"GGUF\x00\x00\x00\x03", b"\x89HDF\r\n\x1a\n", b"PAR1", b"ARROW1\x00\x00"),
    *(b"\x80\x02", b"\x80\x04\x95", b"\x80\x05", b"\x08\x01\x12", b"\x08\x07\x3a", b"\x01\x08\x40"),
    *(b"{", b"[", b"<?xml", b"{{", b"import os\n", b"#!/bin/sh\n", b"a: !!python/", b"FROM x\nRUN "),
    b"\x10\x00\x00\x00\x00\x00\x00\x00{",
)
NAMES = st.sampled_from(["model.bin", "a.safetensors", "x.json", "README.md", "noname", "m.keras", "../../x"])


def judged(data: bytes, name: str = "file") -> Report:
    report = judge(Held(data), name)
    assert report.verdict in VERDICTS
    assert not [finding for finding in report.findings if finding.rule == "scan-failed"], report
    return report


@settings(max_examples=300, deadline=None)
@given(mark=st.sampled_from(MARKS), rest=st.binary(max_size=400), name=NAMES)
def test_any_bytes_end_in_a_verdict(mark: bytes, rest: bytes, name: str) -> None:
    judged(mark + rest, name)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(max_size=300),
    mark=st.sampled_from(["", "{% ", "{{ ", '{"chat_template": "', "x = ", "<!DOCTYPE "]),
)
def test_any_text_ends_in_a_verdict(text: str, mark: str) -> None:
    judged((mark + text).encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(members=st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=100), max_size=5))
def test_any_archive_ends_in_a_verdict(members: dict[str, bytes]) -> None:
    clean = {
        name.replace("\x00", "_").encode("utf-8", "replace").decode(): data for name, data in members.items()
    }
    judged(zipped(clean))
    judged(gzip.compress(tarred(clean)))


@settings(max_examples=100, deadline=None)
@given(name=NAMES, before=st.binary(max_size=60), claimed=st.integers(0, 2**63))
def test_a_payload_is_dangerous_whatever_its_file_is_called(name: str, before: bytes, claimed: int) -> None:
    assert judged(EVIL, name).verdict == "dangerous"
    header = struct.pack("<Q", claimed) + before
    assert judged(zipped({"x/" + name.replace("..", "_"): EVIL, "head": header}), name).verdict == "dangerous"
