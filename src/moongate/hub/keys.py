"""How kept answers are named in the index: by kind, repository, commit and question."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode

from moongate.core.names import CommitHash, RepoId

_LONGEST_PLAIN_KEY = 1000
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{24,}")


def normal_query(query: str) -> list[tuple[str, str]]:
    """A query in one spelling: booleans in lower case, false ones left out, no `[]`, sorted."""
    pairs = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        lower = value.lower()
        if lower == "false":
            continue
        pairs.append((name.removesuffix("[]"), "true" if lower == "true" else value))
    return sorted(pairs)


def at_commit(kind: str, repo: RepoId, commit_hash: CommitHash, rest: str = "") -> str:
    """The key of an answer that cannot change, or hardly: something of one commit."""
    return _bounded(f"{kind}:{repo.repo_type}s/{repo.repo_id}@{commit_hash}{rest}")


def of_repo(kind: str, repo: RepoId, rest: str = "") -> str:
    """The key of an answer about a repository that ages."""
    return _bounded(f"{kind}:{repo.repo_type}s/{repo.repo_id}{rest}")


def of_path(path: str, query: str) -> str:
    """The key of an answer to those without a credential that ages: a list, a search."""
    return _bounded(f"api:{path}" + (f"?{query}" if query else ""))


def info(repo: RepoId, commit_hash: CommitHash, pairs: Sequence[tuple[str, str]] = ()) -> str:
    return at_commit("info", repo, commit_hash, question(pairs))


def tree(repo: RepoId, commit_hash: CommitHash, path: str, pairs: Sequence[tuple[str, str]]) -> str:
    return at_commit("tree", repo, commit_hash, f"/{path}{question(pairs)}")


def absent(repo: RepoId, commit_hash: CommitHash, path: str) -> str:
    return at_commit("absent", repo, commit_hash, f"/{path}")


def question(pairs: Sequence[tuple[str, str]]) -> str:
    """`?a=b&c=d`, or nothing."""
    return "?" + urlencode(list(pairs), quote_via=quote, safe="") if pairs else ""


def _bounded(key: str) -> str:
    """A key of bounded length, without a token that somebody pasted into a query: keys go to disk."""
    token = _TOKEN.search(key) if "hf_" in key else None
    most = _LONGEST_PLAIN_KEY if token is None else min(_LONGEST_PLAIN_KEY, token.start())
    if len(key) <= most:
        return key
    return key[:most] + "#" + hashlib.sha256(key.encode()).hexdigest()
