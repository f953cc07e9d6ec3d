"""`POST /api/validate-yaml`: is this README's metadata fit to be committed?"""

from __future__ import annotations

import asyncio

import orjson

from moongate.app.exchange import Exchange
from moongate.app.replies import Reply, json_reply
from moongate.core.errors import BadRequest
from moongate.core.names import RepoType, parse_repo_type
from moongate.wire.cards import check_card

_INLINE_CHARS = 32 << 10


async def validate_yaml(exchange: Exchange, body: bytes) -> Reply:
    """The errors and warnings of the posted README: 400 when there are errors, as on the Hub.

    Raises:
        BadRequest, BadName: the body is not `{"content", "repoType"}`.
    """
    content, repo_type = _asked(body)
    if len(content) > _INLINE_CHARS:
        check = await asyncio.to_thread(check_card, content, repo_type)
    else:
        check = check_card(content, repo_type)
    return json_reply(400 if check.errors else 200, check.as_json(), exchange.request_id)


def _asked(body: bytes) -> tuple[str, RepoType]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("the question is not JSON") from None
    content = said.get("content") if isinstance(said, dict) else None
    repo_type = said.get("repoType", "model") if isinstance(said, dict) else None
    if not isinstance(content, str) or not isinstance(repo_type, str):
        raise BadRequest("the question holds no content, or no repoType")
    return content, parse_repo_type(repo_type)
