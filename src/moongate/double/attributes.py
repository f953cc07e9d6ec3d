"""`.gitattributes`: which paths a repository keeps in LFS."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

NAME = ".gitattributes"
_LFS = "filter=lfs diff=lfs merge=lfs -text"
_USUAL = [
    "*.7z",
    "*.arrow",
    "*.bin",
    "*.bz2",
    "*.ckpt",
    "*.ftz",
    "*.gguf",
    "*.gz",
    "*.h5",
    "*.joblib",
    "*.mlmodel",
    "*.model",
    "*.msgpack",
    "*.npy",
    "*.npz",
    "*.onnx",
    "*.ot",
    "*.parquet",
    "*.pb",
    "*.pickle",
    "*.pkl",
    "*.pt",
    "*.pth",
    "*.rar",
    "*.safetensors",
    "saved_model/**/*",
    "*.tar.*",
    "*.tar",
    "*.tflite",
    "*.tgz",
    "*.wasm",
    "*.xz",
    "*.zip",
    "*.zst",
    "*tfevents*",
]


def usual() -> bytes:
    """The attributes a freshly created repository starts with."""
    return "".join(f"{pattern} {_LFS}\n" for pattern in _USUAL).encode()


def is_lfs(text: bytes, path: str) -> bool:
    """Whether these attributes put this path in LFS."""
    answer = False
    for line in text.decode(errors="replace").splitlines():
        pattern, _, rest = line.strip().partition(" ")
        if pattern and not pattern.startswith("#") and _matches(pattern, path):
            answer = "filter=lfs" in rest.split() or (answer and "filter" not in rest)
    return answer


def _matches(pattern: str, path: str) -> bool:
    if "/" not in pattern:
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)
    return fnmatch.fnmatchcase(path, pattern.lstrip("/").replace("**/", "*"))


def covering(text: bytes, lfs_paths: Iterable[str]) -> bytes:
    """These attributes, with a line added for each LFS path they do not cover yet."""
    for path in lfs_paths:
        if not is_lfs(text, path):
            name = path.rpartition("/")[2]
            stem, dot, suffix = name.rpartition(".")
            pattern = f"*.{suffix}" if dot and stem and suffix.isalnum() else path
            text += f"{pattern} {_LFS}\n".encode()
    return text
