"""`.gitattributes`: which paths a repository keeps in LFS, as git reads it.

Of several lines that match a path, the last one that speaks of `filter` counts. A pattern without a slash
matches names in any folder.

Source: gitattributes(5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from moongate.wire.git_patterns import Pattern, compiled, escaped, matches

NAME: Final = ".gitattributes"
LFS_WORDS: Final = "filter=lfs diff=lfs merge=lfs -text"

_ALWAYS = (
    "*.7z", "*.arrow", "*.bin", "*.bz2", "*.ckpt", "*.ftz", "*.gz", "*.h5", "*.joblib", "*.lfs.*",
    "*.mlmodel", "*.model", "*.msgpack", "*.npy", "*.npz", "*.onnx", "*.ot", "*.parquet", "*.pb", "*.pickle",
    "*.pkl", "*.pt", "*.pth", "*.rar", "*.safetensors", "saved_model/**/*", "*.tar.*", "*.tar", "*.tflite",
    "*.tgz", "*.wasm", "*.xz", "*.zip", "*.zst", "*tfevents*", "*.gguf",
)  # fmt: skip
_OF_DATASETS = (
    "*.lz4", "*.mds", "*.pcm", "*.sam", "*.raw", "*.aac", "*.flac", "*.mp3", "*.ogg", "*.wav", "*.bmp",
    "*.gif", "*.png", "*.tiff", "*.jpg", "*.jpeg", "*.webp", "*.mp4", "*.webm",
)  # fmt: skip
_MOST_LINES = 20_000


def usual(repo_type: str) -> bytes:
    """The attributes a new repository starts with."""
    patterns = (*_ALWAYS, *_OF_DATASETS) if repo_type == "dataset" else _ALWAYS
    return "".join(f"{pattern} {LFS_WORDS}\n" for pattern in patterns).encode()


class Attributes:
    """The LFS rules of one file's text."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._rules: list[tuple[Pattern, bool, bool]] = []
        for line in text.decode("utf-8", "replace").splitlines()[:_MOST_LINES]:
            words = line.split()
            filters = [word for word in words[1:] if word.lstrip("-!").partition("=")[0] == "filter"]
            if not filters or words[0].startswith("#"):
                continue
            pattern = compiled(words[0].strip('"'))
            if pattern is not None:
                self._rules.append((pattern, "/" in words[0], filters[-1] == "filter=lfs"))
        self._rules.reverse()

    def is_lfs(self, path: str) -> bool:
        """Whether a path is to be kept in LFS."""
        names = path.split("/")
        for pattern, anchored, lfs in self._rules:
            if matches(pattern, names if anchored else names[-1:]):
                return lfs
        return False

    def covering(self, lfs_paths: Iterable[str]) -> bytes:
        """The text with a line added for each of these paths that it does not keep in LFS."""
        missing = [path for path in lfs_paths if not self.is_lfs(path)]
        if not missing:
            return self.text
        lines = "".join(f"{escaped(path)} {LFS_WORDS}\n" for path in missing)
        gap = b"\n" if self.text and not self.text.endswith(b"\n") else b""
        return self.text + gap + lines.encode()
