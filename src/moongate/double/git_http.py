"""git over smart HTTP: fetch and clone, by git's own backend over a bare repository written on demand."""

from __future__ import annotations

import asyncio
import os
import shutil

from moongate.double.ask import Ask
from moongate.double.content import MemoryContent
from moongate.double.objects import write_bare
from moongate.double.reply import Refusal, Reply
from moongate.double.repo import Repo
from moongate.double.world import World

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Authentication required", charset="UTF-8"'}


class GitHttp:
    """Answers `info/refs` and `git-upload-pack`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, ask: Ask, repo_type: str, repo_id: str, path: str) -> Reply:
        """The reply of git's backend for a repository the asker may read."""
        repo = visible_to_git(self._world, ask, repo_type, repo_id)
        if path == "git-receive-pack" or ask.get("service") == "git-receive-pack":
            raise Refusal(403 if ask.user else 401, "Pushing by git is not offered here", headers=_CHALLENGE)
        if path not in ("info/refs", "git-upload-pack"):
            raise Refusal(404, "Not found")
        folder = self._world.state_dir / "git" / f"{repo.key}.git"
        write_bare(folder, list(repo.objects.values()), dict(repo.refs))
        return await self._backend(ask, repo, path)

    async def _backend(self, ask: Ask, repo: Repo, path: str) -> Reply:
        body = await ask.body()
        env = {
            "PATH": os.environ.get("PATH", ""),
            "GIT_PROJECT_ROOT": str(self._world.state_dir / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": f"/{repo.key}.git/{path}",
            "REQUEST_METHOD": ask.method,
            "QUERY_STRING": ask.query_string,
            "CONTENT_TYPE": ask.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": ask.headers.get("Git-Protocol", ""),
            "REMOTE_USER": ask.user.name if ask.user else "",
        }
        git = shutil.which("git")
        if git is None:
            raise Refusal(501, "git is not installed where this Hub runs")
        pipe, silent = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            git, "http-backend", env=env, stdin=pipe, stdout=pipe, stderr=silent
        )
        out, _ = await process.communicate(body)
        return _cgi(out)


def _cgi(out: bytes) -> Reply:
    head, _, body = out.partition(b"\r\n\r\n")
    headers = {}
    for line in head.decode(errors="replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    status = int(headers.pop("Status", "200").split()[0])
    return Reply(status, headers, MemoryContent(body))


def visible_to_git(world: World, ask: Ask, repo_type: str, repo_id: str) -> Repo:
    """The repository, if the asker may read it; a 401 challenges for Basic, as git expects."""
    try:
        repo = world.visible(ask, repo_type, repo_id)
        world.readable(ask, repo)
    except Refusal as refusal:
        if refusal.status == 401:
            refusal.headers |= _CHALLENGE
        raise
    return repo
