"""What every handler of the double knows: repositories, users, settings, addresses, and who may."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moongate.double.ask import Ask
from moongate.double.reply import Refusal
from moongate.double.repo import Commit, Repo
from moongate.double.shelf import Shelf
from moongate.double.signer import Signer
from moongate.double.users import Users
from moongate.double.xet_files import XetFiles
from moongate.double.xet_tokens import XetTokens
from moongate.xet.xorb import Compression


@dataclass(slots=True)
class Settings:
    """What can be set about a double; all may be changed while it runs."""

    tree_page_size: int = 1000
    tree_page_size_expanded: int = 100
    list_page_size: int = 1000
    commits_page_size: int = 50
    gzip_text: bool = True  # small text files go out compressed and chunked when the client takes gzip
    reject_bad_tokens: bool = True  # an unknown bearer is refused even for public repositories
    cdn_refuses_tokens: bool = True  # a CDN request that carries Authorization is refused, as S3 does
    url_ttl_seconds: int = 3600  # how long signed CDN URLs hold
    cas_url: str = ""  # where xet tokens point; empty is the double's own CAS
    xet_token_seconds: int = 3600  # how long xet tokens hold; nothing or less makes them stale at once
    xet_dedup: bool = True  # whether dedup queries find anything
    xet_compression: Compression = "auto"  # how new chunks are stored
    new_repos_xet: bool = False  # whether repositories made over the API speak xet
    default_branch: str = "main"


@dataclass(slots=True)
class World:
    """The state of one double."""

    state_dir: Path
    shelf: Shelf
    users: Users
    settings: Settings
    signer: Signer
    xet: XetFiles
    xet_tokens: XetTokens = field(default_factory=XetTokens)
    routes: dict[str, object] = field(default_factory=dict)
    hub_url: str = ""
    cdn_url: str = ""
    own_cas_url: str = ""

    @property
    def cas_url(self) -> str:
        """The CAS that xet headers and tokens name."""
        return self.settings.cas_url or self.own_cas_url

    def visible(self, ask: Ask, repo_type: str, repo_id: str) -> Repo:
        """The repository, if the asker may know of it.

        Raises:
            Refusal: 401 without a code to the anonymous, coded 404 to others. `Moved` for an old name.
        """
        repo = self.shelf.find(repo_type, repo_id)
        if repo is None and (new := self.shelf.moved(repo_type, repo_id)):
            raise Moved(repo_id, new)
        if repo is not None and (not repo.private or (ask.user and ask.user.sees(repo))):
            if repo.disabled:
                raise Refusal(403, "Access to this resource is disabled.")
            return repo
        if ask.user is None:
            raise Refusal(401, "Invalid username or password.")
        raise Refusal(404, "Repository not found", "RepoNotFound")

    def readable(self, ask: Ask, repo: Repo) -> None:
        """Let pass who may fetch the files of a visible repository.

        Raises:
            Refusal: `GatedRepo`, 401 for the anonymous and 403 for those not let in.
        """
        if not repo.gated or (ask.user and ask.user.reads(repo)):
            return
        page = f"{self.hub_url}{repo.file_base}"
        if ask.user is None:
            message = f"Access to {repo.type} {repo.id} is restricted. You must have access to it and be authenticated to access it. Please log in."  # noqa: E501
            raise Refusal(401, message, "GatedRepo")
        message = f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list. Visit {page} to ask for access."  # noqa: E501
        raise Refusal(403, message, "GatedRepo")

    def writable(self, ask: Ask, namespace: str) -> None:
        """Let pass who may write in a namespace.

        Raises:
            Refusal: 401 for the anonymous, 403 for read tokens and strangers.
        """
        if ask.user is None:
            raise Refusal(401, "Invalid username or password.")
        if not ask.user.writes(namespace):
            raise Refusal(
                403, f"Forbidden: you don't have the rights to write in namespace {namespace} with this token"
            )

    @staticmethod
    def commit(repo: Repo, revision: str) -> Commit:
        """The commit of a revision.

        Raises:
            Refusal: 404 `RevisionNotFound`.
        """
        commit = repo.resolve(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


class Moved(Exception):
    """A request for an id that now leads elsewhere; the door answers 307."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(new)
        self.old = old
        self.new = new
