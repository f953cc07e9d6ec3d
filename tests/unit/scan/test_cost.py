"""How little is read of a large file, and how little memory a judgement takes; not how long it takes."""

from __future__ import annotations

import json
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from moongate.core.spans import ByteSpan
from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.scan_samples.ecosystem import state_dict

MOST_READ = 64_000
_TENSOR_BYTES = 5 << 20


class Padded:
    """A beginning, then zeros that nobody has to hold."""

    def __init__(self, head: bytes, size_bytes: int) -> None:
        self._head, self.size_bytes = head, size_bytes

    def read(self, span: ByteSpan) -> bytes:
        end = min(span.end, self.size_bytes)
        return self._head[span.start : end].ljust(max(0, end - span.start), b"\0")


@pytest.mark.parametrize(("count", "name"), [(100, "t"), (400, "model.layers.0.self_attn.q_proj.weight.")])
def test_safetensors_of_500_mb_are_judged_from_64_kb(count: int, name: str) -> None:
    """Also with a header of fifty kilobytes, as the shards of large models have."""
    each = 100 * _TENSOR_BYTES // count
    header = json.dumps(
        {
            f"{name}{n}": {"dtype": "F32", "shape": [each // 4], "data_offsets": [n * each, (n + 1) * each]}
            for n in range(count)
        }
    ).encode()
    content = Padded(struct.pack("<Q", len(header)) + header, 8 + len(header) + count * each)
    report = judge(content, "model.safetensors")
    assert report.verdict == "clean"
    assert report.read_bytes <= MOST_READ


def test_a_torch_archive_of_500_mb_is_judged_from_64_kb(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state_dict("FloatStorage", 100))
        for n in range(100):
            archive.writestr(f"archive/data/{n}", bytes(_TENSOR_BYTES))
    script = """
        import os, re, sys
        from moongate.scan.engine import judge
        from moongate.scan.worker import OpenFile
        report = judge(OpenFile(os.open(sys.argv[1], os.O_RDONLY)), "model.pt")
        peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)
        print(report.verdict, report.read_bytes, peak)
    """
    code = "\n".join(line.strip() for line in script.splitlines())
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    verdict, read, kib = done.stdout.split()
    assert verdict == "clean"
    assert int(read) <= MOST_READ
    assert int(kib) <= 64 << 10


def test_inline_arrays_are_stepped_over() -> None:
    data = pickle.dumps({f"a{n}": np.zeros(1 << 18, np.float32) for n in range(20)}, 4)
    report = judge(Held(data), "model.pkl")
    assert report.verdict == "clean"
    assert report.read_bytes < len(data) // 4
    assert re.match(r"moongate-scan/\d+", report.engine)
