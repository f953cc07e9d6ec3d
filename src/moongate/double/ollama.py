"""`/v2/…`: GGUF repositories as the Hub shows them to ollama and to older llama.cpp.

A manifest is byte-stable: its digest is the sha256 of its bytes.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

import orjson

from moongate.double.ask import Ask, decode
from moongate.double.cdn import file_path, packed
from moongate.double.content import MemoryContent
from moongate.double.info import blob_facts
from moongate.double.reply import Refusal, Reply, content_reply, redirect_reply
from moongate.double.repo import Commit, FileNode, Repo
from moongate.double.world import World

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.ollama.image."
_PARAMS = b'{"stop":["<|im_end|>"]}'
_TEMPLATE = b"{{ .Prompt }}"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_QUANT = re.compile(r"[-._]((?:I?Q\d\w*)|F16|BF16|F32)\.gguf$", re.IGNORECASE)


class Ollama:
    """Answers manifests and blobs."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, ask: Ask, segments: list[str]) -> Reply:
        """The reply to a path under `/v2/`."""
        if ask.method not in ("GET", "HEAD"):
            raise Refusal(405, "Method not allowed")
        if segments in ([], [""]):
            return Reply(200, {"Docker-Distribution-API-Version": "registry/2.0"})
        for verb in ("manifests", "blobs"):
            if verb in segments[1:3] and len(segments) == segments.index(verb, 1) + 2:
                at = segments.index(verb, 1)
                repo = self._world.visible(ask, "model", decode(segments[:at]))
                self._world.readable(ask, repo)
                await packed(repo)
                commit = self._world.commit(repo, self._world.settings.default_branch)
                handler = self._manifest if verb == "manifests" else self._blob
                return handler(ask, repo, commit, decode(segments[at + 1 :]))
        raise Refusal(404, "Not found")

    def _manifest(self, ask: Ask, repo: Repo, commit: Commit, tag: str) -> Reply:
        path, node = _chosen(commit, tag)
        config = _config(path, node)
        layers = [
            _layer("model", f"sha256:{node.etag}", node.size_bytes),
            _layer("template", _digest(_TEMPLATE), len(_TEMPLATE)),
            _layer("params", _digest(_PARAMS), len(_PARAMS)),
        ]
        manifest: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"digest": _digest(config), "mediaType": _CONFIG, "size": len(config)},
            "layers": layers,
        }
        if "llama-cpp" in ask.headers.get("User-Agent", ""):
            manifest["ggufFile"] = {"rfilename": path} | blob_facts(node)
        body = orjson.dumps(manifest)
        digest = _digest(body)
        headers = {"Content-Type": _MANIFEST, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        return Reply(200, headers, MemoryContent(body))

    def _blob(self, ask: Ask, repo: Repo, commit: Commit, digest: str) -> Reply:
        for path, node in commit.files.items():
            if node.lfs and f"sha256:{node.lfs.sha256}" == digest and path.endswith(".gguf"):
                disposition = "response-content-disposition=" + quote(f'inline; filename="{path}"', safe="")
                ttl_seconds = self._world.settings.url_ttl_seconds
                location = self._world.signer.sign(file_path(repo, node), ttl_seconds, disposition)
                headers = {"Docker-Content-Digest": digest, "X-Linked-Size": str(node.size_bytes)}
                return redirect_reply(self._world.cdn_url + location, 307, headers)
        small = [
            _TEMPLATE,
            _PARAMS,
            *(_config(p, n) for p, n in commit.files.items() if n.lfs and p.endswith(".gguf")),
        ]
        for data in small:
            if _digest(data) == digest:
                headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
                return content_reply(MemoryContent(data), ask.span(len(data)), headers, digest)
        raise Refusal(404, "Blob not found")


def _chosen(commit: Commit, tag: str) -> tuple[str, FileNode]:
    """The GGUF file a tag means: a quant, a file name, or `latest` (Q4_K_M when there is one)."""
    files = {path: node for path, node in commit.files.items() if path.lower().endswith(".gguf") and node.lfs}
    if not files:
        raise Refusal(400, "Repository is not GGUF or is not compatible with llama.cpp")
    whole = {path: node for path, node in files.items() if not _SHARD.search(path)}
    if not whole:
        raise Refusal(
            400, "The specified repository contains sharded GGUF. Ollama does not support this yet."
        )
    wanted = ["q4_k_m", "q4_0", ""] if tag.lower() == "latest" else [tag.lower()]
    for quant in wanted:
        for path, node in whole.items():
            found = _QUANT.search(path)
            if quant in ("", path.lower(), found.group(1).lower() if found else None):
                return path, node
    raise Refusal(
        400, 'The specified tag is not available in the repository. Please use another tag or "latest"'
    )


def _config(path: str, node: FileNode) -> bytes:
    found = _QUANT.search(path)
    quant = found.group(1).upper() if found else "unknown"
    sha256 = node.lfs.sha256 if node.lfs else ""
    layers = [f"sha256:{sha256}", _digest(_TEMPLATE), _digest(_PARAMS)]
    return orjson.dumps(
        {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
            "model_type": "unknown",
            "file_type": quant,
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": layers},
        }
    )


def _layer(kind: str, digest: str, size_bytes: int) -> dict[str, object]:
    return {"digest": digest, "mediaType": _LAYER + kind, "size": size_bytes}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
