"""A push: its objects are taken in apart, judged, and landed with its refs in one transaction, or not at all.

    commands allowed? ─► git unpacks, under limits, in quarantine ─► every new object is looked at
       ─► files' content into the store, leased ─► objects, meanings and refs into the index ─► the folder

A death before the index's transaction leaves leased content and a quarantine, which go by themselves; a death
after it leaves a folder that is brought up at its next use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

import structlog

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, MoongateError, RefMoved
from moongate.core.names import CommitHash
from moongate.hub.hosted.git_folders import GitFolders
from moongate.hub.hosted.push_rules import check_command, check_tree, not_uploaded, too_long
from moongate.hub.hosted.repos import HostedRepos
from moongate.store.bare.folder import BareFolder
from moongate.store.bare.quarantine import NewObject, Quarantine, Reader
from moongate.store.index import GitObjectRow, HostedBlob, HostedRow, Landing, RefUpdate
from moongate.wire.git_objects import parse_commit, parse_tag, parse_tree
from moongate.wire.git_refs import TAGS
from moongate.wire.lfs import LfsPointed, pointer_text, read_pointer
from moongate.wire.pkt_lines import PushHead, RefCommand

_MAX_POINTER_BYTES = 1024
_MAX_OBJECT_BYTES = 64 << 20
"""A commit, tree or tag; a folder of half a million files is as long."""
_RECEIVED_AT_ONCE = 4
_JUDGED_AT_ONCE = 2
_TAG_DEPTH = 8
_NAMED = 1000
_KEPT_TOGETHER = 500
_KEPT_TOGETHER_BYTES = 8 << 20

log = structlog.get_logger("moongate.git")


@dataclass(frozen=True, slots=True)
class PushRules:
    """How much one push may bring."""

    max_pack_bytes: int = 2 << 30
    max_objects: int = 2_000_000
    max_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push. Nothing happened unless `landed`.

    results: each ref with why not; None: it was changed. words: lines for the user.
    """

    unpacked: str
    results: tuple[tuple[str, str | None], ...]
    words: str = ""
    error: MoongateError | None = None

    @property
    def landed(self) -> bool:
        return self.error is None


class PushRefused(BadRequest):
    """The push is refused, with more to say than fits a line."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


class RefRefused(MoongateError):
    """One ref may not be changed so."""

    def __init__(self, name: str, why: MoongateError) -> None:
        super().__init__(why.message)
        self.name = name
        self.why = why


class Pushes:
    """Takes pushes in."""

    def __init__(self, repos: HostedRepos, folders: GitFolders, rules: PushRules) -> None:
        self._repos = repos
        self._folders = folders
        self._rules = rules
        self._receiving = asyncio.Semaphore(_RECEIVED_AT_ONCE)
        self._judging = asyncio.Semaphore(_JUDGED_AT_ONCE)

    async def receive(
        self, row: HostedRow, caller: Caller, head: PushHead, pieces: AsyncIterator[bytes]
    ) -> Pushed:
        """Does what a push asks, all of it or nothing. The caller may write; the pieces are its pack.

        The pieces are read to their end unless they are too many, so that an answer can be given.

        Raises:
            ConnectionError: the client left before its pack was here.
        """
        async with self._receiving:
            try:
                return await self._receive(row, caller, head, pieces)
            except MoongateError as error:
                await _drain(pieces, self._rules.max_pack_bytes)
                return _refusal(head, error)

    async def _receive(
        self, row: HostedRow, caller: Caller, head: PushHead, pieces: AsyncIterator[bytes]
    ) -> Pushed:
        refs = {ref.name: ref.target for ref in self._repos.refs(row)}
        for command in head.commands:
            _check(command, refs)
        if not head.brings_pack:
            changes = [RefUpdate(command.name, command.old, None) for command in head.commands]
            await asyncio.to_thread(self._repos.update_refs, row, changes)
            return _done(head)
        folder = await asyncio.to_thread(self._folders.ready, row)
        limits = self._rules
        with Quarantine(
            folder, max_pack_bytes=limits.max_pack_bytes, max_objects=limits.max_objects
        ) as quarantine:
            try:
                async with asyncio.timeout(limits.max_seconds):
                    await quarantine.take(pieces)
            except TimeoutError:
                raise BadRequest("this push takes too long; push less at a time") from None
            async with self._judging:
                await asyncio.to_thread(self._land, row, caller, head, quarantine)
                await asyncio.to_thread(self._settle, row, folder, quarantine)
        return _done(head)

    def _land(self, row: HostedRow, caller: Caller, head: PushHead, quarantine: Quarantine) -> None:
        quarantine.list_new([command.new for command in head.commands if command.new is not None])
        with quarantine.reader() as reader:
            meant = self._judge(row, caller, quarantine.new_objects(), reader)
            changes = [_change(command, reader) for command in head.commands]
            self._keep(row, caller, quarantine.new_objects(), meant, reader)
            self._repos.judge_arrivals(row, caller, _files(quarantine.new_objects(), meant))
            objects = _rows(quarantine.new_objects(), reader)
            blobs = _blobs(quarantine.new_objects(), meant)
            self._repos.apply_push(row, Landing(changes, objects, blobs))

    def _judge(
        self, row: HostedRow, caller: Caller, objects: Iterator[NewObject], reader: Reader
    ) -> dict[str, HostedBlob]:
        """Looks at every object, and says what the pointers among them mean."""
        most_bytes = self._repos.rules.regular_bytes
        meant: dict[str, HostedBlob] = {}
        coming: dict[Etag, int] = {}
        longer: dict[str, int] = {}
        missing: list[tuple[str, str]] = []
        for count, one in enumerate(objects):
            if count >= self._rules.max_objects:
                raise BadRequest(f"a push brings at most {count} objects; push less at a time")
            if one.kind != "blob":
                _look(one, reader)
                continue
            pointed = _pointed(one, reader)
            if pointed is None:
                coming[Etag(one.oid)] = one.size_bytes
                if one.size_bytes > most_bytes and len(longer) < _NAMED:
                    longer[one.path] = one.size_bytes
                continue
            found = self._meaning(row, caller, one.oid, pointed)
            if found is not None:
                meant[one.oid] = found
            elif len(missing) < _NAMED:
                missing.append((one.path, pointed.oid))
        if longer:
            raise PushRefused("files that belong into git-lfs", too_long(longer, most_bytes))
        if missing:
            raise PushRefused("git-lfs files whose content is not here", not_uploaded(missing))
        self._repos.quotas.admit(row.repo.namespace, coming)
        return meant

    def _meaning(self, row: HostedRow, caller: Caller, oid: str, pointed: LfsPointed) -> HostedBlob | None:
        """What a pointer means; None: its content is not here, or the pusher may not commit it."""
        etag, size_bytes = pointed.oid, pointed.size_bytes
        if self._repos.uploads.may_commit(row, caller, etag) != size_bytes:
            return None
        if not self._repos.uploads.renew(row, caller.key, etag, size_bytes):
            return None
        return HostedBlob(oid, etag, size_bytes, self._repos.contents.xet_hash(etag))

    def _keep(
        self,
        row: HostedRow,
        caller: Caller,
        objects: Iterator[NewObject],
        meant: Mapping[str, HostedBlob],
        reader: Reader,
    ) -> None:
        """Puts the content of regular files into the store, leased, some megabytes at a time."""
        files: list[bytes] = []
        length = 0
        for one in objects:
            if one.kind != "blob" or one.oid in meant:
                continue
            files.append(reader.read(one.oid)[1])
            length += one.size_bytes
            if length >= _KEPT_TOGETHER_BYTES or len(files) >= _KEPT_TOGETHER:
                self._repos.uploads.bring(row, caller.key, files)
                files, length = [], 0
        if files:
            self._repos.uploads.bring(row, caller.key, files)

    def _settle(self, row: HostedRow, folder: BareFolder, quarantine: Quarantine) -> None:
        """Lets the folder have what landed. When that fails, the next use brings it up from the index."""
        try:
            with folder.locked():
                quarantine.settle()
            self._folders.ready(row)
        except (MoongateError, OSError) as error:
            log.warning("a git folder did not take a push", folder=folder.path.name, why=str(error))


def _check(command: RefCommand, refs: Mapping[str, str]) -> None:
    try:
        check_command(command, refs)
    except MoongateError as error:
        raise RefRefused(command.name, error) from error
    if refs.get(command.name) != command.old:
        moved = RefMoved("it is somewhere else meanwhile: fetch first", command.name, refs.get(command.name))
        raise RefRefused(command.name, moved)


def _change(command: RefCommand, reader: Reader) -> RefUpdate:
    """The change of a ref, once it is sure that it leads to a commit."""
    if command.new is None:
        return RefUpdate(command.name, command.old, None)
    target = command.new
    kind, _ = reader.read(target)
    for _ in range(_TAG_DEPTH):
        if kind != "tag":
            break
        target = parse_tag(reader.read(target)[1]).target
        kind, _ = reader.read(target)
    if kind != "commit" or (target != command.new and not command.name.startswith(TAGS)):
        why = BadRequest("a branch points to a commit, a tag to a commit or to an annotated tag on one")
        raise RefRefused(command.name, why)
    return RefUpdate(command.name, command.old, command.new, CommitHash(target))


def _look(one: NewObject, reader: Reader) -> None:
    if one.size_bytes > _MAX_OBJECT_BYTES:
        raise BadRequest(f"the {one.kind} {one.oid} is too long")
    _, body = reader.read(one.oid)
    if one.kind == "tree":
        check_tree(parse_tree(body), one.path)
    elif one.kind == "commit":
        parse_commit(body)
    else:
        parse_tag(body)


def _pointed(one: NewObject, reader: Reader) -> LfsPointed | None:
    """What a blob points to; None: it is a file of its own. Only git-lfs's own spelling is a pointer."""
    if one.size_bytes > _MAX_POINTER_BYTES:
        return None
    body = reader.read(one.oid)[1]
    pointed = read_pointer(body)
    return pointed if pointed is not None and pointer_text(pointed.oid, pointed.size_bytes) == body else None


def _rows(objects: Iterator[NewObject], reader: Reader) -> Iterator[GitObjectRow]:
    """The objects for the index, read once more, so that a long history is never in memory."""
    for one in objects:
        if one.kind != "blob":
            yield GitObjectRow(one.oid, one.kind, reader.read(one.oid)[1])


def _blobs(objects: Iterator[NewObject], meant: Mapping[str, HostedBlob]) -> Iterator[HostedBlob]:
    for one in objects:
        if one.kind == "blob":
            yield meant.get(one.oid) or HostedBlob(one.oid, Etag(one.oid), one.size_bytes)


def _files(objects: Iterator[NewObject], meant: Mapping[str, HostedBlob]) -> Iterator[tuple[str, HostedBlob]]:
    """One path of each content, and the content."""
    for one in objects:
        if one.kind == "blob":
            yield one.path, meant.get(one.oid) or HostedBlob(one.oid, Etag(one.oid), one.size_bytes)


async def _drain(pieces: AsyncIterator[bytes], most_bytes: int) -> None:
    """Reads what the client still sends, since git does not listen before it has sent everything."""
    length = 0
    async for piece in pieces:
        length += len(piece)
        if length > most_bytes:
            return


def _done(head: PushHead) -> Pushed:
    return Pushed("ok", tuple((command.name, None) for command in head.commands))


def _refusal(head: PushHead, error: MoongateError) -> Pushed:
    words = getattr(error, "words", "") if isinstance(error, PushRefused) else ""
    if isinstance(error, RefRefused | RefMoved):
        name = error.name if isinstance(error, RefRefused) else error.ref
        others = "nothing of this push was done"
        results = [
            (command.name, error.message if command.name == name else others) for command in head.commands
        ]
        return Pushed("ok", tuple(results), words, error)
    why = error.message
    return Pushed(why, tuple((command.name, why) for command in head.commands), words, error)
