"""What clients ask of a repository that they change: the rest of its API path, as a value.

    commit/{rev} · preupload/{rev} · settings · duplicate · resource-group
    branch/{name} · tag/{rev or name} · super-squash/{rev}
    lfs-files/{sha256} · lfs-files/batch · lfs-files/duplicate
    discussions[/{n}[/comment|status|title|merge|pin|comment/{id}/edit|comment/{id}/hide]]

Names and revisions are one segment, percent-encoded, or several that are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from moongate.core.errors import BadName

PlainKind = Literal[
    "commit", "preupload", "settings", "duplicate", "branch", "tag", "super-squash", "lfs-file", "lfs-batch",
    "lfs-duplicate", "discussions",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked. `name`: the revision, branch, tag or hash that the path names; empty where none."""

    kind: PlainKind
    name: str = ""


@dataclass(frozen=True, slots=True)
class DiscussionAsked:
    """Something about one discussion: `comment`, `status`, `title`, `merge`, `pin`, `edit` or `hide`."""

    number: int
    word: str
    event_id: str = ""


def parse_hosted(rest: str) -> Asked | DiscussionAsked | None:
    """What the raw rest of a repository's API path asks; None: nothing that we know.

    Raises:
        BadName: it is not UTF-8.
    """
    try:
        parts = [unquote(part, errors="strict") for part in rest.split("/")]
    except UnicodeError:
        raise BadName("the request path is not UTF-8") from None
    head, after = parts[0], [part for part in parts[1:] if part]
    match head:
        case "commit" | "preupload" | "branch" | "tag" | "super-squash" if after:
            return Asked(head, "/".join(after))
        case "settings" | "duplicate" if not after:
            return Asked(head)
        case "lfs-files" if len(after) == 1:
            if after[0] in ("batch", "duplicate"):
                return Asked("lfs-batch" if after[0] == "batch" else "lfs-duplicate")
            return Asked("lfs-file", after[0])
        case "discussions":
            return _discussion(after)
        case _:
            return None


def _discussion(after: list[str]) -> Asked | DiscussionAsked | None:
    if not after:
        return Asked("discussions")
    if not (after[0].isascii() and after[0].isdigit() and len(after[0]) < 12):
        return None
    number = int(after[0])
    match after[1:]:
        case ["comment" | "status" | "title" | "merge" | "pin" as word]:
            return DiscussionAsked(number, word)
        case ["comment", event_id, "edit" | "hide" as word]:
            return DiscussionAsked(number, word, event_id)
        case _:
            return None
