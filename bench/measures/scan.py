"""What it costs to judge files of 500 MB, each in a process of its own that does nothing else.

Targets: a torch archive or safetensors from at most 64 kB read, 0.1 s of CPU and 64 MB resident; a pickle
with arrays in it within 5 s and 256 MB.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage

NAME = "scan"
_TENSORS = 100
_BYTES = 5 << 20
_LOOK = """
import os, re, sys, time
from moongate.scan.engine import judge
from moongate.scan.worker import OpenFile
descriptor = os.open(sys.argv[1], os.O_RDONLY)
began = time.process_time()
report = judge(OpenFile(descriptor), sys.argv[1])
seconds = time.process_time() - began
assert report.verdict == "clean", report
kib = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
print(seconds, report.read_bytes / 1000, kib / 1024)
"""


def measure(stage: Stage) -> Section:
    """CPU seconds, kilobytes read and resident memory of one judgement."""
    section = Section(
        NAME,
        "Judging a file of 500 MB",
        "One process for each judgement; CPU without the start of Python, memory with it. All are clean.",
    )
    folder = Path(stage.folder) / "scan"
    folder.mkdir(parents=True, exist_ok=True)
    for what, write, bounds in (
        ("torch archive", _torch, (0.1, 64.0, 64.0)),
        ("safetensors", _safetensors, (0.1, 64.0, 64.0)),
        ("pickle of arrays", _pickle, (5.0, None, 256.0)),
    ):
        path = folder / "model"
        write(path)
        rounds = [_looked_at(path) for _ in range(max(1, stage.plan.rounds))]
        path.unlink()
        for place, (name, unit) in enumerate((("CPU", "s"), ("read", "kB"), ("memory", "MB"))):
            bound = bounds[place]
            target = None if bound is None else Target("at most", bound, "value")
            values = Samples(tuple(figures[place] for figures in rounds))
            section.rows.append(Row(f"{what}, {name}", unit, values, target=target))
    return section


def _looked_at(path: Path) -> tuple[float, float, float]:
    done = subprocess.run([sys.executable, "-c", _LOOK, path], check=True, capture_output=True, text=True)
    seconds, kilobytes, megabytes = map(float, done.stdout.split())
    return seconds, kilobytes, megabytes


def _storage(key: int) -> bytes:
    identity = f"(X\7\0\0\0storagectorch\nFloatStorage\nX\3\0\0\0{key:03}X\3\0\0\0cpuJ".encode()
    identity += struct.pack("<I", _BYTES // 4) + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + b"K\0J" + struct.pack("<I", _BYTES // 4)
        + b"\x85K\1\x85\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def _torch(path: Path) -> None:
    entries = b"".join(f"X\3\0\0\0{key:03}".encode() + _storage(key) for key in range(_TENSORS))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\2ccollections\nOrderedDict\n)R(" + entries + b"u.")
        for key in range(_TENSORS):
            archive.writestr(f"archive/data/{key:03}", os.urandom(_BYTES))
        archive.writestr("archive/version", "3\n")


def _safetensors(path: Path) -> None:
    header = json.dumps(
        {
            f"layer.{place}": {
                "dtype": "F32",
                "shape": [_BYTES // 4],
                "data_offsets": [place * _BYTES, (place + 1) * _BYTES],
            }
            for place in range(_TENSORS)
        }
    ).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(_TENSORS):
            file.write(os.urandom(_BYTES))


def _pickle(path: Path) -> None:
    dice = np.random.default_rng(1)
    arrays = OrderedDict((f"layer.{n}", dice.standard_normal(20_971, dtype=np.float32)) for n in range(6250))
    with path.open("wb") as file:
        pickle.dump(arrays, file, 4)
