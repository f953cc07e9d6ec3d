"""`moongate show`: one repository, its revisions, and which of its files are here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import only_here
from moongate.cli.repos import parse_repo_at
from moongate.cli.terminal import Column, count, put, put_json, put_pairs, put_table, say, size
from moongate.cli.times import ago, moment
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.core.records import FileEntry, RepoFacts
from moongate.core.verdicts import Verdict, name_kind_of

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock
    from moongate.hub.hosted.lineage import Ancestor


How: TypeAlias = Literal["-", "here", "xet", "here, xet"]
"""How a file is here: not, as a whole, as chunks, or both."""

_KEPT_AS = {"here": ["blob"], "xet": ["xet"], "here, xet": ["blob", "xet"]}


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known here of one repository, and the files of one of its commits."""

    repo: RepoId
    facts: RepoFacts | None
    revisions: Mapping[str, tuple[CommitHash, float]]
    commits: Sequence[CommitHash]
    pins: Sequence[str]
    commit_hash: CommitHash | None
    complete: bool
    files: Sequence[tuple[FileEntry, How]]
    made_from: Sequence[Ancestor] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By path; those that are known."""

    @property
    def kept_bytes(self) -> int:
        return sum(entry.size_bytes for entry, how in self.files if how != "-")

    def as_json(self) -> dict[str, object]:
        return {
            "repo": str(self.repo),
            "repo_type": self.repo.repo_type,
            "repo_id": self.repo.repo_id,
            "private": self.facts.private if self.facts else None,
            "gated": self.facts.gated if self.facts else None,
            "asked_at": moment(self.facts.checked_at) if self.facts else None,
            "revisions": [
                {"revision": revision, "commit_hash": commit_hash, "asked_at": moment(checked_at)}
                for revision, (commit_hash, checked_at) in sorted(self.revisions.items())
            ],
            "commits": list(self.commits),
            "pins": list(self.pins),
            "commit_hash": self.commit_hash,
            "listing_complete": self.complete,
            "made_from": [base.as_json() for base in self.made_from],
            "kept_bytes": self.kept_bytes,
            "files": [
                {
                    "path": entry.path,
                    "size_bytes": entry.size_bytes,
                    "etag": entry.etag,
                    "kept": how != "-",
                    "kept_as": None if how == "-" else _KEPT_AS[how],
                    "xet_hash": entry.xet_hash,
                    "verdict": self.verdicts.get(entry.path),
                }
                for entry, how in self.files
            ],
        }


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    repo: Annotated[str, typer.Argument(metavar="REPO[@REVISION]", help="acme/tiny or acme/tiny@v1.0.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show one repository, its revisions and files.

    Also what upstream said of it, and which of its files are here: as a whole (here), in chunks (xet), or
    both; and what scans said of them. Without a revision, the files of `main` are shown, or of another
    commit that is known. Of a hosted model, also what it was made from, down to the exact commit of each
    base model.

    \b
    Examples:
      moongate show acme/tiny
      moongate show datasets/acme/squad@v1.0
      moongate show acme/tiny --json | jq -r '.files[] | select(.kept | not) | .path'
      moongate show acme/tuned --json | jq '.made_from'
    """
    only_here("show", home)
    wanted = parse_repo_at(repo)
    from moongate.cli.house import open_home

    with open_home(home) as house:
        card = _read_card(house, wanted.repo, wanted.revision)
    if as_json:
        put_json(card.as_json())
    else:
        _print(card)


def _read_card(house: Stock, repo: RepoId, revision: Revision | None) -> Card:
    from moongate.hub.hosted.lineage import Lineage

    index = house.index
    facts = index.get_facts(repo)
    refs, commits = known_revisions(house, repo)
    if facts is None and not refs and not commits:
        raise CommandFailed(f"{repo} is not known here", hint=f"`moongate pull {repo}` fetches it")
    commit_hash = commit_to_show(repo, revision, refs, commits)
    entries = index.files_of(repo, commit_hash) if commit_hash else []
    lineage = Lineage(index, time.time)
    return Card(
        repo=repo,
        facts=facts,
        revisions=refs,
        commits=commits,
        pins=sorted(str(pin.revision or "all revisions") for pin in index.pins() if pin.repo == repo),
        commit_hash=commit_hash,
        complete=commit_hash is not None and index.listing_complete(repo, commit_hash),
        files=[(entry, _how(house, entry)) for entry in entries],
        verdicts={entry.path: said for entry in entries if (said := _said(house, entry)) is not None},
        made_from=lineage.of(repo, commit_hash) if commit_hash else [],
    )


def known_revisions(
    house: Stock, repo: RepoId
) -> tuple[dict[str, tuple[CommitHash, float]], Sequence[CommitHash]]:
    """The names of commits, each with its commit and when it was asked; and all commits that are known."""
    # A row for a commit hash only says that this commit is known to exist.
    refs = {
        str(name): (row.commit_hash, row.checked_at)
        for name, row in house.index.refs_of(repo).items()
        if not is_commit_hash(name)
    }
    return refs, house.index.commits_of(repo)


def _how(house: Stock, entry: FileEntry) -> How:
    whole = house.blobs.size_bytes(entry.etag) is not None
    row = house.index.by_etag(entry.etag)
    if row is not None and row.verified:
        return "here, xet" if whole else "xet"
    return "here" if whole else "-"


def _said(house: Stock, entry: FileEntry) -> Verdict | None:
    """The newest verdict on a file's content under such a name; None: nobody looked yet."""
    rows = house.index.verdicts_of(entry.etag)
    kind = name_kind_of(entry.path)
    own = next((row for row in rows if row.name_kind in ("", kind)), None)
    worse = next((row for row in rows if row.verdict == "dangerous"), None)
    found = own or worse
    return None if found is None else found.verdict


def commit_to_show(
    repo: RepoId,
    revision: Revision | None,
    refs: Mapping[str, tuple[CommitHash, float]],
    commits: Sequence[CommitHash],
) -> CommitHash | None:
    """The commit that a revision names; of none, the newest that is known.

    Raises:
        CommandFailed: the revision is not known here.
    """
    if revision is None:
        newest = refs.get("main") or next(iter(refs.values()), None)
        return newest[0] if newest else next(iter(commits), None)
    if revision in refs:
        return refs[revision][0]
    if CommitHash(revision) in commits:
        return CommitHash(revision)
    known = ", ".join(sorted(refs)) or "none"
    raise CommandFailed(
        f"{repo}@{revision} is not known here",
        hint=f"`moongate pull {repo}@{revision}` fetches it; known revisions: {known}",
    )


def _chain(bases: Sequence[Ancestor], indent: str) -> list[tuple[str, str]]:
    """A line for each base, what it was made from below it."""
    lines: list[tuple[str, str]] = []
    for base in bases:
        at = base.commit_hash or "(its commit was not here then)"
        where = "hosted" if base.hosted else "upstream"
        lines.append((f"{indent}made from", f"{base.repo} {at} ({base.relation}, {where})"))
        lines += _chain(base.bases, f"{indent}  ")
    return lines


def _print(card: Card) -> None:
    words = {True: "yes", False: "no", None: "not known"}
    put_pairs(
        [
            ("repository", str(card.repo)),
            ("private", words[card.facts.private if card.facts else None]),
            ("gated", words[card.facts.gated if card.facts else None]),
            *(
                (f"@{revision}", f"{commit_hash} (asked {ago(checked_at)})")
                for revision, (commit_hash, checked_at) in sorted(card.revisions.items())
            ),
            ("pinned", ", ".join(card.pins) or "no"),
            ("commit", str(card.commit_hash or "none known")),
            *_chain(card.made_from, ""),
        ]
    )
    put("")
    columns = [
        Column("path"), Column("size", "right"), Column("here"), Column("etag"), Column("verdict")
    ]  # fmt: skip
    put_table(
        columns,
        [
            [entry.path, size(entry.size_bytes), how, entry.etag[:12], card.verdicts.get(entry.path, "-")]
            for entry, how in card.files
        ],
    )
    kept = sum(how != "-" for _, how in card.files)
    partly = "" if card.complete else "; upstream may have more files than are known here"
    say(f"{kept} of {count(len(card.files), 'file')} here, {size(card.kept_bytes)}{partly}")
