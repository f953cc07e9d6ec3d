"""What a repository went through: refs, commits, the difference of two, discussions."""

from __future__ import annotations

import difflib
from urllib.parse import unquote, urlencode

from moongate.double.ask import Ask, split_revision
from moongate.double.content import MemoryContent
from moongate.double.reply import Refusal, Reply, json_reply, text_reply
from moongate.double.repo import Commit, Repo
from moongate.double.world import World

_COMMITS_MOST = 1000


class History:
    """Answers the routes about refs and commits."""

    def __init__(self, world: World) -> None:
        self._world = world

    def refs(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/refs[?include_prs=1]`."""
        answer = {
            "branches": _group(repo, "refs/heads/"),
            "converts": _group(repo, "refs/convert/"),
            "tags": _group(repo, "refs/tags/"),
        }
        if ask.flag("include_prs"):
            answer["pullRequests"] = _group(repo, "refs/pr/")
        return json_reply(answer)

    def commits(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/commits/{revision}?p=&limit=`, with `X-Total-Count` and `Link`."""
        commits = list(repo.history(self._world.commit(repo, split_revision(rest)[0])))
        number = ask.number("p", 0, 1 << 30)
        size = max(1, ask.number("limit", self._world.settings.commits_page_size, _COMMITS_MOST))
        chosen = commits[number * size : (number + 1) * size]
        formatted = "formatted" in ask.all("expand")
        headers = {"X-Total-Count": str(len(commits))}
        if (number + 1) * size < len(commits):
            query = [(key, value) for key, value in ask.query if key != "p"] + [("p", str(number + 1))]
            headers["Link"] = f'<{self._world.hub_url}{ask.path}?{urlencode(query)}>; rel="next"'
        return json_reply([_commit(commit, formatted) for commit in chosen], headers=headers)

    def compare(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/compare/{a}..{b}`: a unified diff; LFS files by their pointers."""
        before, dots, after = unquote("/".join(rest)).partition("..")
        if not dots:
            raise Refusal(400, "Expected two revisions, as in a..b")
        old, new = self._world.commit(repo, before), self._world.commit(repo, after.lstrip("."))
        lines: list[str] = []
        for path in sorted({*old.files, *new.files}):
            was, now = _text(old, path), _text(new, path)
            if was != now:
                lines.append(f"diff --git a/{path} b/{path}\n")
                lines += difflib.unified_diff(_lines(was), _lines(now), f"a/{path}", f"b/{path}")
        return text_reply("".join(lines))

    def discussions(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/discussions`: none, but the pull requests opened by commits."""
        if rest:
            raise Refusal(404, "Discussion not found")
        found = [
            {
                "title": repo.commits[target].message,
                "num": int(ref.rpartition("/")[2]),
                "status": "open",
                "createdAt": repo.commits[target].date,
                "isPullRequest": True,
                "author": {"name": repo.commits[target].author},
                "repo": {"type": repo.type, "name": repo.id},
            }
            for ref, target in repo.refs.items()
            if ref.startswith("refs/pr/")
        ]
        return json_reply({"discussions": found, "count": len(found), "start": 0})


def _group(repo: Repo, prefix: str) -> list[dict[str, str]]:
    return [
        {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": target}
        for ref, target in sorted(repo.refs.items())
        if ref.startswith(prefix)
    ]


def _commit(commit: Commit, formatted: bool) -> dict[str, object]:
    title, _, message = commit.message.partition("\n")
    made: dict[str, object] = {
        "id": commit.hash,
        "title": title,
        "message": message.strip(),
        "authors": [{"user": commit.author, "avatar": f"/avatars/{commit.author}.svg"}],
        "date": commit.date,
    }
    return made | ({"formatted": {"title": title, "message": message.strip()}} if formatted else {})


def _text(commit: Commit, path: str) -> str:
    node = commit.files.get(path)
    if node is None:
        return ""
    if node.lfs:
        return node.lfs.pointer.decode()
    return node.content.data.decode(errors="replace") if isinstance(node.content, MemoryContent) else ""


def _lines(text: str) -> list[str]:
    return [line if line.endswith("\n") else f"{line}\n" for line in text.splitlines(keepends=True)]
