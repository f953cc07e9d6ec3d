"""A file's page: its text, its card, the tensors of its header; and its bytes, as a download or a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from aiohttp import web

from moongate.app.exchange import Exchange
from moongate.app.file_routes import FileRoutes, plain_headers
from moongate.app.pages.heads import Heads
from moongate.app.pages.reading import facts_of, read_span, read_text
from moongate.app.pages.repo import CardShelf
from moongate.app.pages.tree import crumbs, download_href
from moongate.app.pages.uses import file_uses
from moongate.app.pages.visits import Given, Shown, Visit
from moongate.core.digests import Etag, is_sha256
from moongate.core.errors import Absent, BadRequest, HeldByPolicy, RefusedByPolicy
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.web.security_views import EvidenceView
from moongate.web.views import BlobView, TensorView
from moongate.weights.gguf import GgufFacts, read_gguf
from moongate.weights.reading import BadHeader
from moongate.weights.safetensors import SafetensorsFacts, read_safetensors
from moongate.wire.page_paths import BlobPage

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_MOST_TEXT_BYTES = 512 << 10
_MOST_LINES = 2000
_MOST_LINE_CHARS = 2000
_MOST_HEADER_BYTES = 32 << 20
_MOST_TENSORS = 400
_MOST_NOTES = 24
_MOST_IMAGE_BYTES = 8 << 20
_TEXTS = (
    ".txt", ".md", ".json", ".jsonl", ".yaml", ".yml", ".py", ".toml", ".cfg", ".ini", ".csv", ".tsv", ".xml",
    ".html", ".css", ".js", ".ts", ".sh", ".ipynb", ".jinja", ".lock", ".gitattributes", ".gitignore",
    "LICENSE", "Dockerfile", ".model.v3", "merges.txt", "NOTICE", ".rst", ".tex",
)  # fmt: skip
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class BlobPages:
    """`…/blob/{revision}/{path}`, `/-/download/…` and `/-/images/…`."""

    def __init__(
        self,
        gateway: Gateway,
        heads: Heads,
        cards: CardShelf,
        files: FileRoutes,
        base_url: Callable[[web.BaseRequest], str],
        evidence_of: Callable[[Etag], EvidenceView | None],
    ) -> None:
        self._gateway = gateway
        self._heads = heads
        self._cards = cards
        self._files = files
        self._base_url = base_url
        self._evidence_of = evidence_of

    async def show(self, visit: Visit, page: BlobPage) -> Shown:
        repo, revision, path = page.repo, page.revision, page.path
        known = await self._heads.of(visit, repo, revision)
        file, _ = await self._gateway.content.file_at(repo, revision, path, visit.caller)
        entry = file.entry
        here = known.hosted or await asyncio.to_thread(self._is_here, file)
        facts = [("Commit", file.commit_hash[:12])]
        if not known.hosted:
            facts.append(("Kept here", "yes" if here else "not yet"))
        if entry.xet_hash:
            facts.append(("Xet", f"{entry.xet_hash[:16]}…"))
        view = BlobView(
            name=path.rpartition("/")[2],
            crumbs=crumbs(repo, revision, path),
            download=download_href(repo, revision, path),
            size_bytes=entry.size_bytes,
            digest_name="sha256" if is_sha256(entry.etag) else "git id",
            digest=entry.etag,
            facts=facts,
            uses=file_uses(known, revision, quote(path), self._base_url(visit.exchange.request)),
            verdict=await asyncio.to_thread(self._evidence_of, entry.etag),
            **await self._inside(visit, file, here),
        )
        values = {"repo": known.head, "view": view, "tab": "files"}
        return Shown("blob", f"{path} · {repo.repo_id}", values, section=f"{repo.repo_type}s")

    async def download(self, exchange: Exchange, page: BlobPage) -> web.StreamResponse:
        """The bytes, for a browser that is signed in."""
        file, resolved = await self._gateway.content.file_at(
            page.repo, page.revision, page.path, exchange.caller
        )
        exchange.outcome = resolved.outcome
        exchange.repo = page.repo
        headers = [pair for pair in plain_headers(file) if pair[0].lower() != "content-disposition"]
        name = quote(page.path.rpartition("/")[2])
        headers.append(("Content-Disposition", f"attachment; filename*=UTF-8''{name}"))
        return await self._files.give(exchange, file, headers)

    async def picture(self, visit: Visit, page: BlobPage) -> Given:
        """A picture of the repository itself, known by its first bytes; nothing else is given.

        Raises:
            Absent: it is no picture, or a large one.
            Otherwise as any read of the file.
        """
        content = self._gateway.content
        file, _ = await content.file_at(page.repo, page.revision, page.path, visit.caller)
        size_bytes = file.entry.size_bytes
        if not 16 <= size_bytes <= _MOST_IMAGE_BYTES:
            raise Absent("This is no picture that is shown here.")
        kind = _picture_kind(await read_span(content, file, visit.caller, ByteSpan(0, 16)))
        if kind is None:
            raise Absent("This is no picture that is shown here.")
        body = await read_span(content, file, visit.caller, ByteSpan(0, size_bytes))
        headers = (
            ("Content-Type", kind),
            ("Cache-Control", "private, max-age=3600"),
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        )
        return Given(headers, body)

    def _is_here(self, file: FileAt) -> bool:
        etag = file.entry.etag
        return self._gateway.fills.keeps(etag) or (is_sha256(etag) and self._gateway.xets.is_here(etag))

    async def _inside(self, visit: Visit, file: FileAt, here: bool) -> dict[str, Any]:
        """What there is to look at."""
        path, size_bytes = file.entry.path, file.entry.size_bytes
        try:
            if path.endswith(_TEXTS) or (size_bytes < 4096 and not is_sha256(file.entry.etag)):
                return await self._text(visit, file)
            if not here and path.endswith((".safetensors", ".gguf")):
                return {"nothing": "What its header says is shown once the file is here."}
            if path.endswith(".safetensors"):
                return await self._safetensors(visit, file)
            if path.endswith(".gguf"):
                return await self._gguf(visit, file)
        except BadHeader as error:
            return {"nothing": f"Its header is bad: {error.message}."}
        except (BadRequest, RefusedByPolicy, HeldByPolicy) as error:
            return {"nothing": error.message}
        return {"nothing": "Files of this kind are not opened here; download it if you know what it is."}

    async def _text(self, visit: Visit, file: FileAt) -> dict[str, Any]:
        text, more = await read_text(self._gateway.content, file, visit.caller, _MOST_TEXT_BYTES)
        if "\0" in text[:4096]:
            return {"nothing": "It is called a text, and is none."}
        path = file.entry.path
        if path.endswith(".md") and visit.query.get("plain") != "1":
            folder = path.rpartition("/")[0]
            key = (file.repo, file.commit_hash, file.entry.etag)
            card = self._cards.get(*key, folder) or await self._cards.make(*key, text, folder)
            return {"card": card.html, "cut": card.is_cut or more}
        if path.endswith(".json") and not more:
            text = await asyncio.to_thread(_pretty, text)
        lines = text.splitlines()
        shown = [line[:_MOST_LINE_CHARS] for line in lines[:_MOST_LINES]]
        return {"lines": shown or [""], "cut": more or len(lines) > len(shown)}

    async def _safetensors(self, visit: Visit, file: FileAt) -> dict[str, Any]:
        reader = read_safetensors(file.entry.size_bytes)
        facts: SafetensorsFacts
        facts, header = await facts_of(self._gateway.content, file, visit.caller, reader, _MOST_HEADER_BYTES)
        tensors = await asyncio.to_thread(_tensors, header)
        return {
            "tensors": tensors[:_MOST_TENSORS],
            "tensor_count": len(tensors),
            "parameters": sorted(facts.parameters.items(), key=lambda pair: -pair[1])[:6],
            "total_parameters": facts.total,
            "notes": [(key[:80], note[:400]) for key, note in list(facts.metadata.items())[:_MOST_NOTES]],
        }

    async def _gguf(self, visit: Visit, file: FileAt) -> dict[str, Any]:
        reader = read_gguf(file.entry.size_bytes)
        facts: GgufFacts
        facts, _ = await facts_of(self._gateway.content, file, visit.caller, reader, _MOST_HEADER_BYTES)
        known = [
            ("architecture", facts.architecture),
            ("context length", f"{facts.context_length:,}" if facts.context_length else None),
            ("quantization", facts.quantization),
        ]
        notes = [(name, value) for name, value in known if value]
        words = {
            key: text for key, text in facts.texts.items() if not key.startswith("tokenizer.chat_template")
        }
        notes += [(key[:80], text[:400]) for key, text in list(words.items())[:_MOST_NOTES]]
        return {
            "template": (facts.chat_template or "")[:20_000],
            "nothing": "It holds no chat template.",
            "parameters": [(facts.quantization or "GGUF", facts.total)] if facts.total else [],
            "total_parameters": facts.total,
            "notes": notes,
        }


def _pretty(text: str) -> str:
    """JSON with a line for each thing, when it is JSON in one line."""
    if text.count("\n") > 2:
        return text
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return text


def _tensors(header: bytes) -> list[TensorView]:
    """The tensors of a header that was read before, in the order of their bytes."""
    told = orjson.loads(header)
    told.pop("__metadata__", None)
    ordered = sorted(told.items(), key=lambda pair: (pair[1]["data_offsets"][0], pair[0]))
    return [
        TensorView(
            name[:300],
            tensor["dtype"],
            " × ".join(map(str, tensor["shape"])) or "scalar",
            tensor["data_offsets"][1] - tensor["data_offsets"][0],
        )
        for name, tensor in ordered
    ]


def _picture_kind(head: bytes) -> str | None:
    for mark, kind in _PICTURES:
        if head.startswith(mark):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "image/avif" if head[4:12] == b"ftypavif" else None
