"""Who am I, and may I read this: the answers that are one caller's own."""

from __future__ import annotations

import hashlib

import orjson

from moongate.core.callers import Caller
from moongate.core.errors import AuthRequired, NotAllowed, RepoAbsent, UpstreamError
from moongate.core.names import RepoId
from moongate.hub.access import Access
from moongate.hub.answers import Answer
from moongate.hub.asker import Asker

_JSON = (("Content-Type", "application/json; charset=utf-8"),)


async def whoami(caller: Caller, asker: Asker) -> Answer:
    """Who upstream says the caller is; for one of our own tokens, who we say.

    Raises:
        AuthRequired: the caller is anonymous.
        BadToken: upstream does not know the token.
    """
    if caller.credential is not None:
        answer = await asker.get("/api/whoami-v2", caller.credential, "access", about_repo=False)
        return Answer(200, _JSON, answer.body, "miss")
    if caller.kind == "anonymous":
        raise AuthRequired("this needs a token, and none was sent")
    return Answer(200, _JSON, orjson.dumps(_own_user(caller)), "hit")


async def auth_check(repo: RepoId, write: bool, caller: Caller, access: Access, asker: Asker) -> Answer:
    """An empty 200 when the caller may read (or write) the repository, whose metadata they may have.

    Raises:
        GatedRepo, NotAllowed, RepoAbsent: upstream says no.
        UpstreamError: it cannot be asked.
    """
    allowed = Answer(200, (), b"", "hit")
    if write:
        path = f"{repo.api_path}/auth-check/write"
        await asker.get(path, caller.credential, "access", any_success=True)
        return Answer(200, (), b"", "pass")
    if access.reads(caller, repo):
        return allowed
    path = f"{repo.api_path}/auth-check"
    try:
        await asker.get(path, access.credential(caller, repo), "access", any_success=True)
    except (NotAllowed, RepoAbsent) as error:
        raise await access.refused(caller, repo, error) from error
    except UpstreamError:
        if access.reads(caller, repo, within_grace=True):
            return allowed
        raise
    await access.note(access.identity(caller, repo), repo, "files")
    return Answer(200, (), b"", "miss")


def _own_user(caller: Caller) -> dict[str, object]:
    return {
        "type": "user",
        "id": hashlib.sha256(caller.user.encode()).hexdigest()[:24],
        "name": caller.user,
        "fullname": caller.user,
        "email": None,
        "emailVerified": False,
        "canPay": False,
        "isPro": False,
        "periodEnd": None,
        "avatarUrl": "",
        "orgs": [],
        "auth": {
            "type": "access_token",
            "accessToken": {
                "displayName": "moongate",
                "role": "write" if caller.scope != "read" else "read",
                "createdAt": "1970-01-01T00:00:00.000Z",
            },
        },
    }
