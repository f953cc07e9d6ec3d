"""What Xet clients upload: xorbs, then the shards that make files of them. Nothing is believed.

There are no grants here: a client that asks for one is told 404 and sends the xorb to the CAS itself.
"""

from __future__ import annotations

import asyncio

import orjson

from moongate.core.errors import BadName
from moongate.double.ask import Ask
from moongate.double.content import MemoryContent
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.world import World
from moongate.xet.decoding import verify_xorb
from moongate.xet.hashes import parse_hash
from moongate.xet.shard import MAX_SHARD_BYTES, BadShard, read_shard
from moongate.xet.xorb import (
    MAX_STORED_BYTES,
    MAX_XORB_BYTES,
    MAX_XORB_CHUNKS,
    BadXorb,
    layout_of,
    read_headers,
)

_XORB_MOST_BYTES = MAX_XORB_BYTES + MAX_XORB_CHUNKS * 64  # an old client's footer comes on top


class CasUploads:
    """Answers the routes that take something."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, ask: Ask, version: str, rest: list[str]) -> Reply:
        """The reply to an upload.

        Raises:
            Refusal: 404 for a route that is none, 400 for what does not pass the checks.
        """
        match ask.method, *rest:
            case "POST", ("xorbs" | "xorb"), _, xorb:
                self._world.xet_tokens.check(ask, write=True)
                body = await ask.body(_XORB_MOST_BYTES)
                return json_reply({"was_inserted": await asyncio.to_thread(self._take_xorb, xorb, body)})
            case ("POST", "shards") | ("POST", "shard", _, _):
                self._world.xet_tokens.check(ask, write=True)
                body = await ask.body(MAX_SHARD_BYTES)
                return await (self._events(body) if version == "v2" else self._result(body))
        raise Refusal(404, "Not found")

    def _take_xorb(self, name: str, body: bytes) -> bool:
        try:
            expected = parse_hash(name)
            leaves = verify_xorb(memoryview(body), expected)
            layout = layout_of(read_headers(memoryview(body)))
        except (BadName, BadXorb) as error:
            raise Refusal(400, str(error)) from None
        if not leaves:
            raise Refusal(400, "a xorb without chunks")
        end = layout.ends[-1]
        if end > MAX_STORED_BYTES or layout.raw_ends[-1] > MAX_XORB_BYTES:
            raise Refusal(400, "a xorb of more than 64 MiB")
        return self._world.xet.xorbs.add(expected, memoryview(body)[:end], leaves, layout)

    def _take_shard(self, body: bytes) -> bool:
        try:
            return self._world.xet.register(read_shard(body))
        except BadShard as error:
            raise Refusal(400, str(error)) from None

    async def _result(self, body: bytes) -> Reply:
        return json_reply({"result": int(await asyncio.to_thread(self._take_shard, body))})

    async def _events(self, body: bytes) -> Reply:
        lines: list[dict[str, object]] = [
            {"type": "validating", "verified": 0, "total": 1},
            {"type": "committing", "stage": "uploading"},
            {"type": "committing", "stage": "syncing"},
        ]
        try:
            lines.append({"type": "result", "result": int(await asyncio.to_thread(self._take_shard, body))})
        except Refusal as refusal:
            lines = [{"type": "error", "message": refusal.message, "retryable": False}]
        text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        return Reply(200, {"Content-Type": "application/x-ndjson"}, MemoryContent(text))
