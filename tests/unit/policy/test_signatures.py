"""Signatures are looked up once for a commit; what may still turn out is asked again soon."""

from __future__ import annotations

from dataclasses import dataclass, field

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.policy.facts import Signature
from moongate.policy.provenance.keys import Trust
from moongate.policy.provenance.model_signing import Coverage
from moongate.policy.provenance.vouching import Found, Vouched, Vouching
from moongate.policy.signatures import HELD_SECONDS, UNKNOWN_SECONDS, Signatures

TINY, COMMIT = RepoId("model", "acme/tiny"), CommitHash("1" * 40)
UNSIGNED = Vouched((), is_settled=True)
UNKNOWN = Vouched((), is_settled=False)


def file(path: str = "a.bin", commit_hash: str = COMMIT) -> FileAt:
    return FileAt(TINY, CommitHash(commit_hash), FileEntry(RepoPath(path), Etag("a" * 64), 9))


@dataclass
class Desk:
    answer: Vouched = UNKNOWN
    now: float = 1000.0
    looks: int = 0
    signatures: Signatures = field(init=False)

    def __post_init__(self) -> None:
        self.signatures = Signatures(self._look_up, lambda: self.now)

    def _look_up(self, repo: RepoId, commit_hash: CommitHash) -> Vouched:
        self.looks += 1
        return self.answer


def test_a_commit_is_looked_up_once_a_minute() -> None:
    desk = Desk(UNSIGNED)
    assert desk.signatures.at_hand(file()) is None
    for path in ("a.bin", "b.bin"):
        assert desk.signatures.of(file(path)) == Signature(signed=False, valid=False)
    assert desk.looks == 1
    desk.now += HELD_SECONDS
    assert desk.signatures.at_hand(file()) is None


def test_what_is_not_known_is_asked_again_soon() -> None:
    desk = Desk()
    assert desk.signatures.of(file()) == Signature()
    desk.now += UNKNOWN_SECONDS
    desk.answer = UNSIGNED
    assert desk.signatures.of(file()).signed is False


def test_of_no_commit_nothing_is_known() -> None:
    desk = Desk()
    assert desk.signatures.at_hand(file(commit_hash="")) == Signature()
    assert desk.looks == 0


def test_what_may_still_turn_out_is_not_known() -> None:
    bad = Found("model.sig", Coverage(why="a stranger signed it"))
    told = Vouched((bad,), is_settled=True, lacking=frozenset({"late.bin"}))
    assert told.of("a.bin") == Signature(signed=True, valid=False)
    assert told.of("late.bin") == Signature(signed=True, valid=None)
    assert Vouched((bad,), is_settled=False).of("a.bin").valid is None
    begun = Found("model.sig", Coverage("release-team", "key", covered=("a.bin",), unknown=("late.bin",)))
    told = Vouched((begun,), is_settled=True, lacking=frozenset({"late.bin"}))
    assert told.of("a.bin") == Signature(signed=True, valid=True, signer="release-team")
    assert told.of("late.bin").valid is None
    wrong = Found("model.sig", Coverage("release-team", "key", covered=("a.bin",), changed=("b.bin",)))
    assert Vouched((wrong,), is_settled=True).of("a.bin").valid is False


class Ledger:
    """A commit whose signature is listed and not here."""

    def __init__(self, *, complete: bool) -> None:
        self.complete = complete

    def files_of(self, repo: RepoId, commit_hash: CommitHash) -> list[FileEntry]:
        return [file("a.bin").entry, file("model.sig").entry][: 2 if self.complete else 1]

    def listing_complete(self, repo: RepoId, commit_hash: CommitHash) -> bool:
        return self.complete

    def digest_of(self, etag: str) -> str | None:
        return etag

    def attestations(self, repo: RepoId, commit_hash: CommitHash) -> list[object]:
        return []


def test_a_signature_that_is_not_here_or_not_listed_is_not_known() -> None:
    for complete in (True, False):
        ledger = Ledger(complete=complete)
        vouching = Vouching(ledger, lambda entry: None, Trust, lambda: 0.0)  # type: ignore[arg-type]
        assert vouching.vouched(TINY, COMMIT).of("a.bin") == Signature(), complete
