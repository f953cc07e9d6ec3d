"""The repositories of a double, found by type and id, with the names they had before."""

from __future__ import annotations

from collections.abc import Iterator

from moongate.double.repo import Repo

TYPES = ("model", "dataset", "space")


class Shelf:
    """All repositories, and the old names that lead to them."""

    def __init__(self) -> None:
        self._repos: dict[tuple[str, str], Repo] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def add(self, repo: Repo) -> Repo:
        """Put a repository on the shelf.

        Raises:
            ValueError: the name is taken, or the type unknown.
        """
        if repo.type not in TYPES:
            raise ValueError(f"unknown repository type {repo.type}; known: {', '.join(TYPES)}")
        if (repo.type, repo.id) in self._repos:
            raise ValueError(f"{repo.key} exists already")
        self._repos[repo.type, repo.id] = repo
        self._aliases.pop((repo.type, repo.id), None)
        return repo

    def alias(self, repo_type: str, old: str, new: str) -> None:
        """Let an old id answer with a redirect to a new one."""
        self._aliases[repo_type, old] = new

    def rename(self, repo_type: str, old: str, new: str) -> Repo:
        """Give a repository another id; the old one redirects.

        Raises:
            KeyError: there is none of the old name.
            ValueError: the new name is taken.
        """
        repo = self._repos[repo_type, old]
        if (repo_type, new) in self._repos:
            raise ValueError(f"{repo_type}s/{new} exists already")
        del self._repos[repo_type, old]
        repo.id = new
        self.alias(repo_type, old, new)
        return self.add(repo)

    def remove(self, repo_type: str, repo_id: str) -> None:
        """Take a repository away.

        Raises:
            KeyError: there is none.
        """
        del self._repos[repo_type, repo_id]

    def find(self, repo_type: str, repo_id: str) -> Repo | None:
        """The repository of exactly this id."""
        return self._repos.get((repo_type, repo_id))

    def moved(self, repo_type: str, repo_id: str) -> str | None:
        """Where an id leads that is no repository's own: a rename, or another casing. None when nowhere."""
        new = self._aliases.get((repo_type, repo_id))
        if new is not None:
            return self.moved(repo_type, new) or new
        folded = repo_id.lower()
        for known_type, known in self._repos:
            if known_type == repo_type and known != repo_id and known.lower() == folded:
                return known
        return None

    def of_type(self, repo_type: str) -> Iterator[Repo]:
        for (known_type, _), repo in list(self._repos.items()):
            if known_type == repo_type:
                yield repo

    def __iter__(self) -> Iterator[Repo]:
        return iter(list(self._repos.values()))
