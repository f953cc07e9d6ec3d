"""Xet tokens: given out by the hub origin, asked for by the CAS; good for one repository and revision."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import Commit, Repo
from moongate.double.users import token_of

if TYPE_CHECKING:
    from moongate.double.ask import Ask
    from moongate.double.world import World


@dataclass(frozen=True, slots=True)
class XetToken:
    """What a token lets its holder do, until `expires_seconds` since the epoch."""

    repo: Repo
    revision: str | None
    commit_hash: str | None
    write: bool
    expires_seconds: int

    def reaches(self, file_id: str) -> bool:
        """Whether the repository, at the token's revision, has a file of this id."""
        return any(
            node.lfs is not None and node.lfs.xet_hash == file_id
            for commit in self._commits()
            for node in commit.files.values()
        )

    def _commits(self) -> list[Commit]:
        if self.write or self.revision is None:
            return list(self.repo.commits.values())
        found = [self.repo.resolve(self.revision), self.repo.commits.get(self.commit_hash or "")]
        return [commit for commit in found if commit is not None]


class XetTokens:
    """The tokens of a double."""

    def __init__(self) -> None:
        self._given: dict[str, XetToken] = {}

    def reply(self, world: World, repo: Repo, revision: str | None, *, write: bool) -> Reply:
        """A new token, in headers and JSON at once."""
        text = f"xet_{secrets.token_hex(24)}"
        expires = int(time.time()) + world.settings.xet_token_seconds
        commit = repo.resolve(revision) if revision else None
        self._given[text] = XetToken(repo, revision, commit.hash if commit else None, write, expires)
        value = {"casUrl": world.cas_url, "accessToken": text, "exp": expires}
        reply = json_reply(value, headers=token_headers(value))
        del reply.headers["ETag"]
        return reply

    def check(self, ask: Ask, *, write: bool = False) -> XetToken:
        """The token of a request to the CAS.

        Raises:
            Refusal: 401 without a token that is known and in time, 403 when it may not write.
        """
        found = self._given.get(token_of(ask.headers.get("Authorization")) or "")
        if found is None or found.expires_seconds <= time.time():
            raise Refusal(401, "the Xet token is missing, unknown or expired")
        if write and not found.write:
            raise Refusal(403, "this Xet token may only read")
        return found


def token_headers(value: dict[str, object]) -> dict[str, str]:
    """The headers that say the same as a token's JSON."""
    return {
        "X-Xet-Cas-Url": str(value["casUrl"]),
        "X-Xet-Access-Token": str(value["accessToken"]),
        "X-Xet-Token-Expiration": str(value["exp"]),
    }
