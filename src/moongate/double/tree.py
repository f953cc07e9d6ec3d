"""Listings of a commit: `tree`, `paths-info`, `treesize`."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs

from moongate.double.ask import Ask, decode, split_revision
from moongate.double.pages import Page, page_of
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import Commit, FileNode, Repo
from moongate.double.world import World

_PATHS_MOST = 2000


class Tree:
    """Answers the listing routes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def listing(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/tree/{revision}[/{folder}]`: one level, or all below with `recursive`; pages with `Link`."""
        revision, after = split_revision(rest)
        commit, folder = self._world.commit(repo, revision), decode(after).strip("/")
        if folder not in commit.folders:
            raise Refusal(404, f'{folder} does not exist on "{revision}"', "EntryNotFound")
        expand = ask.flag("expand")
        names = _below(commit, folder) if ask.flag("recursive") else _level(commit, folder)
        settings = self._world.settings
        most = settings.tree_page_size_expanded if expand else settings.tree_page_size
        page: Page[str] = page_of(ask, self._world, names, most)
        return json_reply([_entry(repo, commit, name, expand) for name in page.items], headers=page.headers)

    async def paths_info(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`POST …/paths-info/{revision}` with a form or JSON; unknown paths are left out."""
        commit = self._world.commit(repo, split_revision(rest)[0])
        paths, expand = await self._asked_paths(ask)
        if len(paths) > _PATHS_MOST:
            raise Refusal(413, f"Too many paths: at most {_PATHS_MOST}")
        names = [path.strip("/") for path in paths]
        known = [
            name for name in dict.fromkeys(names) if name and (name in commit.files or name in commit.folders)
        ]
        return json_reply([_entry(repo, commit, name, expand) for name in known])

    @staticmethod
    async def _asked_paths(ask: Ask) -> tuple[list[str], bool]:
        if "json" in ask.headers.get("Content-Type", ""):
            body = await ask.json()
            paths = body.get("paths")
            if not isinstance(paths, list):
                raise Refusal(400, '"paths" must be an array')
            return [str(path) for path in paths], bool(body.get("expand"))
        form = parse_qs((await ask.body()).decode(errors="replace"), keep_blank_values=True)
        return form.get("paths", []), form.get("expand", ["false"])[-1].lower() == "true"

    def size(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/treesize/{revision}/{folder}`: bytes of all files below."""
        revision, after = split_revision(rest)
        commit, folder = self._world.commit(repo, revision), decode(after).strip("/")
        if folder not in commit.folders:
            raise Refusal(404, f'{folder} does not exist on "{revision}"', "EntryNotFound")
        files = [name for name in _below(commit, folder) if name in commit.files]
        return json_reply(
            {"path": f"/{folder}", "size": sum(commit.files[name].size_bytes for name in files)}
        )


def _below(commit: Commit, folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return sorted(
        n for n in (*commit.files, *commit.folders) if n.startswith(prefix) and n not in ("", folder)
    )


def _level(commit: Commit, folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""

    def here(names: Iterable[str]) -> list[str]:
        return sorted(
            n for n in names if n.startswith(prefix) and n != folder and "/" not in n[len(prefix) :]
        )

    return here(commit.folders) + here(commit.files)


def _entry(repo: Repo, commit: Commit, name: str, expand: bool) -> dict[str, object]:
    node = commit.files.get(name)
    if node is None:
        entry: dict[str, object] = {"type": "directory", "oid": commit.folders[name], "size": 0, "path": name}
    else:
        entry = {"type": "file", "oid": node.oid, "size": node.size_bytes, "path": name} | lfs_facts(node)
    if expand:
        entry["lastCommit"] = _last_commit(repo, commit, name)
        if node is not None:
            entry["securityFileStatus"] = security(name)
    return entry


def lfs_facts(node: FileNode) -> dict[str, object]:
    """What a listing adds for a file in LFS."""
    if node.lfs is None:
        return {}
    lfs = {"oid": node.lfs.sha256, "size": node.lfs.size_bytes, "pointerSize": len(node.lfs.pointer)}
    return {"lfs": lfs} | ({"xetHash": node.lfs.xet_hash} if node.lfs.xet_hash else {})


def security(name: str) -> dict[str, object]:
    """The Hub's scan results of a file, in shape; the double scans nothing."""
    safe = {"status": "safe", "message": "No issue", "reportLink": "", "reportLabel": ""}
    imports = (
        {"status": "unscanned", "pickleImports": [], "version": "0.0.0"}
        if name.endswith((".bin", ".pt"))
        else None
    )
    return {
        "status": "safe",
        "protectAiScan": safe,
        "avScan": safe,
        "pickleImportScan": imports,
        "jFrogScan": safe,
    }


def _last_commit(repo: Repo, commit: Commit, name: str) -> dict[str, object]:
    def oid(at: Commit) -> str | None:
        return at.files[name].oid if name in at.files else at.folders.get(name)

    last = commit
    for older in repo.history(commit):
        if oid(older) != oid(commit):
            break
        last = older
    return {"id": last.hash, "title": last.message.splitlines()[0] if last.message else "", "date": last.date}
