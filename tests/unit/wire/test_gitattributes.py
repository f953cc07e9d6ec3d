"""Attributes and ignored paths, as git itself reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.wire.gitattributes import Attributes, usual
from moongate.wire.gitignore import Ignored

PATHS = [
    "a.bin", "A.BIN", "x/a.bin", "saved_model/x.txt", "saved_model/a/b/c.txt", "x/saved_model/a",
    "saved_model", "events.tfevents.1", "a.tar.gz", "a.targz", "a.tar", "dir/name", "deep/dir/name",
    "dir/other", "a b.txt", "x/a b.txt", "we[ird].txt", "star*.txt", "q.txt", "[ab].txt", "a.txt",
    "b.txt", "-x.txt", "!bang.txt", "#hash.txt", "foo/bar/baz", "foo/baz", "foo/x/y/baz", "build/out.o",
    "src/build/out.o", "keep/build/x", ".hidden", "x/.hidden", "tab\tname.txt", "ünïcode.bin",
    "trailing ", "node_modules/p/i.js", "a/b",
]  # fmt: skip

ATTRIBUTES = {
    "usual": usual("model").decode(),
    "usual of datasets": usual("dataset").decode(),
    "anchored": "/a.bin filter=lfs\ndir/name filter=lfs\n",
    "stars": "*.t* filter=lfs\nfoo/**/baz filter=lfs\n**/name filter=lfs\nsaved_model/** filter=lfs\n",
    "classes": "[ab].txt filter=lfs\n[!q].bin filter=lfs\n[[:lower:]]/b filter=lfs\n"
    "we[[]ird].txt filter=lfs\n",
    "spaces": "a[[:space:]]b.txt filter=lfs diff=lfs merge=lfs -text\n",
    "the last one counts": "*.txt filter=lfs\na.txt -filter\nb.txt !filter\nq.txt filter=other\n",
    "other words": "*.txt text eol=lf\n*.bin diff=lfs merge=lfs\n# *.txt filter=lfs\n\n   \n"
    "*.gz filter=lfs -text\n",
    "question marks": "?.txt filter=lfs\n?/b filter=lfs\n",
    "escapes": "star\\*.txt filter=lfs\n\\#hash.txt filter=lfs\n",
}  # fmt: skip

IGNORED = {
    "names": "*.bin\nbuild\n",
    "folders": "build/\nsaved_model/\n",
    "anchored": "/a.txt\n/dir/name\nfoo/bar\n",
    "taken back": "*.txt\n!a.txt\n!we*.txt\n",
    "not below an ignored folder": "foo/\n!foo/baz\n",
    "stars": "**/baz\nfoo/**\n!foo/baz\n*.t?t\n",
    "comments and blanks": "# *.txt\n\n\\#hash.txt\n\\!bang.txt\n   \n",
    "spaces at the end": "a.txt   \ntrailing\\ \n",
    "dots": ".*\n!.hidden\n",
}


@pytest.fixture
def git(program: Callable[[str], Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Runs git in a fresh repository, with paths on its input; the fields of what it says."""
    executable = program("git")

    def run(*words: str, paths: list[str]) -> list[str]:
        done = subprocess.run(
            [executable, "-c", "core.excludesFile=/dev/null", *words],
            cwd=tmp_path,
            input="\0".join(paths).encode() + b"\0",
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout.decode().split("\0")

    subprocess.run([executable, "init", "-q"], cwd=tmp_path, check=True)
    return run


@pytest.mark.parametrize("text", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_large_files_are_those_that_git_would_filter(
    text: str, git: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / ".gitattributes").write_text(text)
    said = git("check-attr", "-z", "--stdin", "filter", paths=PATHS)
    theirs = {
        path for path, _, value in zip(said[::3], said[1::3], said[2::3], strict=False) if value == "lfs"
    }
    attributes = Attributes(text.encode())
    assert {path for path in PATHS if attributes.is_lfs(path)} == theirs


@pytest.mark.parametrize("text", IGNORED.values(), ids=IGNORED)
def test_ignored_files_are_those_that_git_would_ignore(
    text: str, git: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / ".gitignore").write_text(text)
    theirs = {path for path in git("check-ignore", "-z", "--no-index", "--stdin", paths=PATHS) if path}
    ignored = Ignored(text.encode())
    assert {path for path in PATHS if path in ignored} == theirs


def test_what_is_covered_is_covered_for_git(git: Callable[..., list[str]], tmp_path: Path) -> None:
    paths = [path for path in PATHS if "\t" not in path]
    text = Attributes(b"*.bin filter=lfs\n*.txt text").covering(paths)
    assert text.startswith(b"*.bin filter=lfs\n*.txt text\n")
    assert Attributes(text).covering(paths) == text  # once is enough
    (tmp_path / ".gitattributes").write_bytes(text)
    said = git("check-attr", "-z", "--stdin", "filter", paths=paths)
    assert set(said[2::3]) == {"lfs"}


@pytest.mark.parametrize("pattern", ["*a" * 50 + "b", "**/" * 500 + "x", "[" * 5000, "?" * 5000, "\\" * 5000])
def test_no_pattern_is_slow(pattern: str) -> None:
    text = f"{pattern} filter=lfs\n".encode()
    assert not Attributes(text).is_lfs("/".join(["a" * 100] * 40))
    assert "/".join(["a" * 100] * 40) not in Ignored(pattern.encode())
