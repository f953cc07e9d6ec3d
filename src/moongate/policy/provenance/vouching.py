"""Who vouches for a commit, and what this gateway states about it.

Signatures are found beside the files (`model.sig` and its like) and among what was signed here; each is held
against digests that are known. Nothing is hashed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from cryptography import x509

from moongate.core.attestations import Attestation
from moongate.core.digests import Etag
from moongate.core.errors import Absent, BadRequest
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileEntry
from moongate.core.verdicts import Judged
from moongate.policy.facts import Signature
from moongate.policy.provenance import model_signing, statements
from moongate.policy.provenance.dsse import sealed
from moongate.policy.provenance.facts import CommitFacts, FileFacts
from moongate.policy.provenance.keys import PrivateKey, Trust, subject_of
from moongate.policy.provenance.model_signing import SIGNATURE_NAMES, Coverage
from moongate.wire.front_matter import BadCard, front_matter

_TOLD: Final = ("README.md", "config.json")


class Ledger(Protocol):
    """What this needs of the index. Point reads, but for listings."""

    def files_of(self, repo: RepoId, commit_hash: CommitHash) -> list[FileEntry]: ...
    def listing_complete(self, repo: RepoId, commit_hash: CommitHash) -> bool: ...
    def digest_of(self, etag: str) -> str | None: ...
    def attestations(self, repo: RepoId, commit_hash: CommitHash) -> list[Attestation]: ...
    def put_attestation(self, repo: RepoId, commit_hash: CommitHash, told: Attestation) -> None: ...
    def verdicts_of(self, etag: Etag) -> list[Judged]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A signature over a commit. where: the path of its file, or `here` for one made by this gateway."""

    where: str
    coverage: Coverage

    def as_json(self) -> dict[str, object]:
        return {"where": self.where, **self.coverage.as_json()}


@dataclass(frozen=True, slots=True)
class Vouched:
    """The signatures of a commit, the best first.

    is_settled: no other one is to come: the listing is whole, and every signature in it was read.
    lacking: files whose digest is not known here yet, so that nothing can be held against it.
    """

    found: tuple[Found, ...]
    is_settled: bool
    lacking: frozenset[str] = frozenset()

    def of(self, path: str) -> Signature:
        """What rules may know of the signature over one file; what may still turn out is not known.

        A signature counts for a file while others that it names are not here yet, and not once one is wrong.
        """
        best = next((one.coverage for one in self.found if _holds_for(one.coverage, path)), None)
        if best is not None:
            return Signature(signed=True, valid=True, signer=best.signer)
        if not self.found:
            return Signature(signed=False, valid=False) if self.is_settled else Signature()
        is_open = not self.is_settled or path in self.lacking
        return Signature(signed=True, valid=None if is_open else False)


def _holds_for(coverage: Coverage, path: str) -> bool:
    is_sound = coverage.signer and not (coverage.why or coverage.changed or coverage.missing)
    return bool(is_sound) and path in coverage.covered


class Vouching:
    """Usable from any thread; blocks for listings."""

    def __init__(
        self,
        ledger: Ledger,
        read: Callable[[FileEntry], bytes | None],
        trust: Callable[[], Trust],
        clock: Callable[[], float],
    ) -> None:
        """`read`: a small file's content, None when it is not here. `trust`: who is believed now."""
        self._ledger = ledger
        self._read = read
        self._trust = trust
        self._clock = clock

    def signatures(self, repo: RepoId, commit_hash: CommitHash) -> list[Found]:
        """Every signature over a commit, the best first.

        Raises:
            Absent: nothing is known here of the commit.
        """
        return list(self._vouched(repo, commit_hash, self._entries(repo, commit_hash)).found)

    def vouched(self, repo: RepoId, commit_hash: CommitHash) -> Vouched:
        """Every signature over a commit, for whoever asks about its files."""
        try:
            entries = self._entries(repo, commit_hash)
        except Absent:
            return Vouched((), is_settled=False)
        return self._vouched(repo, commit_hash, entries)

    def signature_of(self, repo: RepoId, commit_hash: CommitHash, path: str) -> Signature:
        """What rules may know of the signature over one file."""
        return self.vouched(repo, commit_hash).of(path)

    def _vouched(self, repo: RepoId, commit_hash: CommitHash, entries: Sequence[FileEntry]) -> Vouched:
        digests = {str(entry.path): self._ledger.digest_of(entry.etag) for entry in entries}
        trust, now = self._trust(), self._clock()
        found, unread = [], False
        for entry in entries:
            if not is_signature(entry.path):
                continue
            body = self._read(entry)
            if body is None:
                unread = True
                continue
            coverage = model_signing.verify(body, digests, trust, now, entry.path)
            found.append(Found(entry.path, coverage))
        for told in self._ledger.attestations(repo, commit_hash):
            if told.kind == "model-signature":
                # A signature file beside the files came later than, or apart from, what is signed here.
                rest = {path: digest for path, digest in digests.items() if not is_signature(path)}
                found.append(Found("here", model_signing.verify(told.body, rest, trust, now)))
        found.sort(key=lambda one: (not one.coverage.valid, len(one.coverage.uncovered)))
        is_settled = not unread and self._ledger.listing_complete(repo, commit_hash)
        lacking = frozenset(path for path, digest in digests.items() if digest is None)
        return Vouched(tuple(found), is_settled, lacking)

    def sign(
        self,
        repo: RepoId,
        commit_hash: CommitHash,
        key: PrivateKey,
        certificates: Sequence[x509.Certificate] = (),
    ) -> Attestation:
        """Signs all files of a commit but signatures; the bundle is kept as an attestation.

        Raises:
            Absent: nothing is known here of the commit.
            BadRequest: its listing is not whole, or the digest of a file is not known here.
        """
        entries = [entry for entry in self._entries(repo, commit_hash) if not is_signature(entry.path)]
        if not self._ledger.listing_complete(repo, commit_hash):
            raise BadRequest(f"not all files of {repo} are known here; `moongate pull {repo}` brings them")
        digests = {str(entry.path): self._ledger.digest_of(entry.etag) for entry in entries}
        unknown = [path for path, digest in digests.items() if digest is None]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise BadRequest(
                f"the content of {unknown[0]}{more} is not here; `moongate pull {repo}` brings it"
            )
        known = {path: digest for path, digest in digests.items() if digest is not None}
        body = model_signing.sign(repo.repo_id, known, key, certificates)
        signer = key.name if not certificates else subject_of(certificates[0])
        told = Attestation("model-signature", signer, self._clock(), body)
        self._ledger.put_attestation(repo, commit_hash, told)
        return told

    def facts(
        self,
        repo: RepoId,
        commit_hash: CommitHash,
        *,
        origin: str,
        hosted: bool,
        approvals: Sequence[Mapping[str, object]] = (),
        deliveries: Sequence[Mapping[str, object]] = (),
    ) -> CommitFacts:
        """Everything known of a commit.

        Raises:
            Absent: nothing is known here of it.
        """
        entries = self._entries(repo, commit_hash)
        named = {str(entry.path): self._read(entry) for entry in entries if entry.path in _TOLD}
        return CommitFacts(
            repo,
            commit_hash,
            origin,
            hosted,
            self._ledger.listing_complete(repo, commit_hash),
            tuple(self._file(entry) for entry in entries),
            _card(named.get("README.md")),
            _object(named.get("config.json")),
            approvals,
            deliveries,
        )

    def state(self, facts: CommitFacts, key: PrivateKey, gateway: str) -> list[dict[str, Any]]:
        """Signs the statements about a commit, keeps them, and gives the envelopes."""
        now = self._clock()
        envelopes = []
        for statement in (statements.provenance(facts, gateway, now), statements.record(facts, now)):
            envelope = sealed(orjson.dumps(statement), key).as_json(key.public.hint)
            body = orjson.dumps(envelope)
            told = Attestation("provenance", key.name, now, body)
            self._ledger.put_attestation(facts.repo, facts.commit_hash, told)
            envelopes.append(envelope)
        return envelopes

    def _entries(self, repo: RepoId, commit_hash: CommitHash) -> list[FileEntry]:
        entries = self._ledger.files_of(repo, commit_hash)
        if not entries:
            raise Absent(f"no file of {repo} at {commit_hash[:12]} is known here")
        return entries

    def _file(self, entry: FileEntry) -> FileFacts:
        judged = next(iter(self._ledger.verdicts_of(entry.etag)), None)
        sha256 = self._ledger.digest_of(entry.etag)
        if judged is None:
            return FileFacts(entry.path, entry.etag, entry.size_bytes, sha256)
        versions = judged.versions
        by = " ".join(word for word in (versions.engine, versions.rules, versions.feeds) if word)
        return FileFacts(
            entry.path, entry.etag, entry.size_bytes, sha256, judged.verdict, judged.judged_at, by
        )


def is_signature(path: str) -> bool:
    """Whether a file is, by its name, a signature over the files beside it."""
    return path in SIGNATURE_NAMES


def _card(body: bytes | None) -> Mapping[str, object]:
    try:
        return front_matter(body.decode()) or {} if body else {}
    except (BadCard, UnicodeDecodeError):
        return {}


def _object(body: bytes | None) -> Mapping[str, object]:
    try:
        told = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}
