"""What is to become of files before they are sent: through LFS or in the commit, or not wanted."""

from __future__ import annotations

from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.quotas import Quotas
from moongate.hub.hosted.refs import HostedRefs
from moongate.hub.hosted.rules import HostedRules
from moongate.store.index import HostedRow, Index
from moongate.wire.gitattributes import NAME as ATTRIBUTES
from moongate.wire.gitattributes import Attributes
from moongate.wire.gitignore import NAME as IGNORED
from moongate.wire.gitignore import Ignored
from moongate.wire.preupload import Planned, PreuploadQuestion


class Preupload:
    """Answers preupload questions."""

    def __init__(
        self,
        index: Index,
        objects: GitObjects,
        refs: HostedRefs,
        contents: Contents,
        quotas: Quotas,
        rules: HostedRules,
    ) -> None:
        self._index = index
        self._objects = objects
        self._refs = refs
        self._contents = contents
        self._quotas = quotas
        self._rules = rules

    def answer(self, row: HostedRow, revision: str, question: PreuploadQuestion) -> dict[str, object]:
        """The answer as the API gives it, at what a revision has now.

        Files that match a rule of `.gitattributes`, are long or are no text go through LFS. A file that
        stands there already is named by its content, so that equal ones need not be sent.

        Raises:
            RevisionAbsent: there is no such revision.
            QuotaExceeded: the namespace surely has no room for them.
        """
        commit_hash = self._refs.resolve(row, revision)
        root = self._objects.commit(row, commit_hash).tree
        self._quotas.admit_lengths(row.repo.namespace, (one.size_bytes for one in question.files))
        attributes = Attributes(self._text(row, root, ATTRIBUTES, question.attributes))
        ignored = Ignored(self._text(row, root, IGNORED, question.ignored))
        told = [self._told(row, root, one, attributes, ignored) for one in question.files]
        return {"files": told, "commitOid": commit_hash}

    def _told(
        self, row: HostedRow, root: str, one: Planned, attributes: Attributes, ignored: Ignored
    ) -> dict[str, object]:
        told: dict[str, object] = {
            "path": one.path,
            "uploadMode": "lfs" if self._is_large(one, attributes) else "regular",
            "shouldIgnore": one.path in ignored,
        }
        item = self._objects.item_at(row, root, one.path)
        blob = None if item is None or item.is_folder else self._index.hosted_blob(row.number, item.oid)
        return told if blob is None else told | {"oid": blob.etag}

    def _is_large(self, one: Planned, attributes: Attributes) -> bool:
        if one.size_bytes == 0:
            return False
        return one.size_bytes > self._rules.regular_bytes or attributes.is_lfs(one.path) or one.looks_binary

    def _text(self, row: HostedRow, root: str, name: str, given: str | None) -> bytes:
        if given is not None:
            return given.encode("utf-8", "replace")
        item = self._objects.item_at(row, root, name)
        return (self._contents.read(item.oid) if item is not None and not item.is_folder else None) or b""
