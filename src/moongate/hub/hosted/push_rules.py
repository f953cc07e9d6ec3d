"""What a push may do to refs and bring into a repository, said in words for the terminal at the other end.

- Branches, tags and open pull requests may be written; nothing else under `refs/`.
- `main` is moved, by force too, and never deleted. Pull requests are opened and closed by the API.
- Whether a change that loses commits is meant, the client asks its user (`--force`); what it based the change
  on must still hold here, or nothing happens.
- A regular file is at most so long; longer ones go through git-lfs, whose content must be here first.
- Symbolic links and submodules are refused: a download by the API cannot give what a clone would have.
- A path must be one that the API can name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from moongate.core.errors import BadName, BadRequest, NotAllowed
from moongate.core.names import is_commit_hash, parse_repo_path, parse_revision, shown
from moongate.wire.git_objects import MODE_SUBMODULE, MODE_SYMLINK, TreeItem
from moongate.wire.git_refs import HEADS, PULLS, TAGS, in_the_way, is_pull_ref, is_ref_name
from moongate.wire.pkt_lines import RefCommand

MAIN = f"{HEADS}main"

_NAMES_SHOWN = 10
_MIB = 1 << 20


def check_command(command: RefCommand, refs: Mapping[str, str]) -> None:
    """Return when this ref may be changed so; `refs` are those that there are, with their targets.

    Raises:
        NotAllowed, BadName: it may not, or cannot be called so.
    """
    name = command.name
    if not is_ref_name(name) or len(name) > 250:
        raise BadName("no ref can be called so here")
    if name.startswith(PULLS):
        _check_pull(command, refs)
        return
    short = next((name.removeprefix(prefix) for prefix in (HEADS, TAGS) if name.startswith(prefix)), None)
    if short is None:
        raise NotAllowed("only branches, tags and pull requests can be pushed here")
    if command.new is None:
        if name == MAIN:
            raise NotAllowed("main cannot be deleted")
        return
    parse_revision(short)
    if is_commit_hash(short) or short == "HEAD" or short.startswith("refs/"):
        raise BadName("nobody could tell this name from another")
    if command.old is None:
        _check_new_name(name, short, refs)


def _check_new_name(name: str, short: str, refs: Mapping[str, str]) -> None:
    twin = (TAGS if name.startswith(HEADS) else HEADS) + short
    if twin in refs:
        kind = "tag" if twin.startswith(TAGS) else "branch"
        raise NotAllowed(
            f"there is a {kind} of this name; whoever asks for {short} could not tell them apart"
        )
    other = in_the_way(name, refs)
    if other is not None:
        raise NotAllowed(f"git cannot have it beside {other}")


def _check_pull(command: RefCommand, refs: Mapping[str, str]) -> None:
    if not is_pull_ref(command.name) or command.name not in refs:
        raise NotAllowed("there is no such pull request; they are opened by the API")
    if command.new is None:
        raise NotAllowed("a pull request is closed by the API, not deleted")


def check_tree(items: Iterable[TreeItem], folder: str) -> None:
    """Return when a folder may hold these.

    Raises:
        BadRequest, BadName: it may not; the message says which, and what to do.
    """
    for item in items:
        path = f"{folder}/{item.name}" if folder else item.name
        if item.mode == MODE_SYMLINK:
            raise BadRequest(f"{shown(path)} is a symbolic link; push the file itself")
        if item.mode == MODE_SUBMODULE:
            raise BadRequest(f"{shown(path)} is a submodule; push its files, or leave it out")
        try:
            parse_repo_path(path)
        except BadName:
            raise BadName(f"{shown(path)} cannot be asked for by the API: rename it") from None


def too_long(files: Mapping[str, int], most_bytes: int) -> str:
    """What is said of regular files that are too long: each path with its size."""
    lines = [f"These files are longer than {_mib(most_bytes)} and belong into git-lfs:"]
    lines += _shortened([f"  {path or 'a file'} ({_mib(size)})" for path, size in files.items()])
    one = next(iter(files))
    name = one.rpartition("/")[2]
    pattern = f"*.{name.rpartition('.')[2]}" if "." in name else name
    lines += [
        "Have git-lfs keep them, in the commits too that are not pushed yet:",
        f'  git lfs track "{pattern}"',
        f'  git lfs migrate import --include="{pattern}"',
    ]
    return "".join(f"{line}\n" for line in lines)


def not_uploaded(files: Collection[tuple[str, str]]) -> str:
    """What is said of LFS files whose content is not here: each path with its sha256."""
    lines = ["The content of these git-lfs files was not uploaded:"]
    lines += _shortened([f"  {path or 'a file'} (sha256 {oid})" for path, oid in files])
    lines += ["Upload it, then push again:", "  git lfs push --all <remote> <branch>"]
    return "".join(f"{line}\n" for line in lines)


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - _NAMES_SHOWN
    return lines if more <= 0 else [*lines[:_NAMES_SHOWN], f"  and {more} more"]


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:.1f} MiB"
