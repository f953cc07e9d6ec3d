"""Judges the code inside torch archives: TorchScript in `code/`, and the graphs of exported programs.

TorchScript looks like Python and is compiled, not run; of its operations a few read, write or load files.
An exported program names its operations in JSON. Operations of libraries that nobody here knows need those.
"""

from __future__ import annotations

import re
from typing import Final

from moongate.scan.ledger import Ledger

MAX_CHARS: Final = 32 << 20
_FILES = re.compile(
    r"\b(?:torch|ops\.aten|aten)\.(from_file|save|load|_load_from_bytes|_save_to)\s*\(|"
    r"\b(?:ops|torch\.ops)\.(?:aten|prim)\.(from_file|save|load|AddObserver|Python\w*|PythonOp)\b"
)
_OPERATION = re.compile(r"\b(?:ops|torch\.ops)\.([A-Za-z_]\w*)\.([A-Za-z_]\w*)")
_KNOWN = frozenset(
    [
        *(
            "aten",
            "prim",
            "prims",
            "quantized",
            "torchvision",
            "torchaudio",
            "_quantized",
            "quantized_decomposed",
        ),
        *("higher_order", "sparse", "torch_sparse", "torch_scatter", "torch_cluster", "torch_spline_conv"),
        *(
            "xnnpack",
            "metal",
            "mkldnn",
            "onednn",
            "c10d",
            "profiler",
            "static_runtime",
            "symm_mem",
            "tensorrt",
        ),
        *("prepacked", "torchao", "fbgemm", "vulkan", "inductor", "_c10d_functional", "image", "torchtext"),
        *("_caffe2", "cuda", "mkl", "export", "executorch", "dim_order_ops", "rngprims"),
    ]
)
_EXPORTED_FILES = re.compile(r"\Atorch\.ops\.aten\.(from_file|save|load)\b")


def is_code(member: str) -> bool:
    """Whether a member of a torch archive is compiled as TorchScript."""
    return re.search(r"(?:^|/)code/.+\.py\Z", member) is not None


def judge_torchscript(text: str, ledger: Ledger, member: str) -> None:
    ledger.saw("torchscript")
    if found := _FILES.search(text):
        name = next(filter(None, found.groups()))
        words = f"its code calls {name}, which reads or writes files"
        ledger.add("graph-operation", words, member=member, offset=found.start())
    for library, name in dict.fromkeys(_OPERATION.findall(text)):
        if library not in _KNOWN:
            ledger.add("graph-unknown", f"needs the operation {library}::{name[:60]}", member=member)
            return


def judge_target(target: str, ledger: Ledger, member: str) -> None:
    """What a node of an exported program calls."""
    if found := _EXPORTED_FILES.match(target):
        ledger.add("graph-operation", f"a node calls {found.group(1)}", member=member)
    elif (named := _OPERATION.match(target)) and named.group(1) not in _KNOWN:
        ledger.add("graph-unknown", f"needs the operation {target[:80]}", member=member)
