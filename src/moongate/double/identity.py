"""Who the asker is, what they may, and who else there is."""

from __future__ import annotations

import hashlib

from moongate.double.ask import Ask
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import Repo
from moongate.double.users import User
from moongate.double.world import World


class Identity:
    """Answers whoami, auth-check, users and organizations."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, ask: Ask, segments: list[str]) -> Reply:
        """An `/api/…` route that is no repository's.

        Raises:
            Refusal: 404 for a route the double does not know.
        """
        match segments if ask.method in ("GET", "HEAD") else []:
            case ["whoami-v2"]:
                return self._whoami(ask)
            case ["users", name, "overview"] if self._world.users.by_name(name):
                return json_reply(self._overview(name, "user"))
            case ["organizations", name, "overview"] if name in self._world.users.orgs():
                return json_reply(self._overview(name, "org"))
            case ["users", name, "likes"] if self._world.users.by_name(name):
                return json_reply([])
            case ["organizations", name, "members" | "followers"] if name in self._world.users.orgs():
                return json_reply([])
            case ["users" | "organizations", *_]:
                raise Refusal(404, "This user does not exist")
            case _:
                raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    def _whoami(self, ask: Ask) -> Reply:
        if ask.user is None:
            raise Refusal(401, "Invalid username or password.")
        user = ask.user
        answer = {
            "type": "user",
            "id": _number(user.name),
            "name": user.name,
            "fullname": user.name.title(),
            "email": f"{user.name}@hub.example",
            "emailVerified": True,
            "isPro": False,
            "avatarUrl": f"/avatars/{user.name}.svg",
            "orgs": [
                {"type": "org", "id": _number(org), "name": org, "fullname": org} for org in sorted(user.orgs)
            ],
            "auth": {"type": "access_token", "accessToken": _token_facts(user)},
        }
        return json_reply(answer)

    def _overview(self, name: str, kind: str) -> dict[str, object]:
        repos = [repo for repo in self._world.shelf if repo.namespace == name and not repo.private]
        counts = {
            f"num{k.title()}s": sum(repo.type == k for repo in repos) for k in ("model", "dataset", "space")
        }
        facts: dict[str, object] = {
            "fullname": name.title(),
            "avatarUrl": f"/avatars/{name}.svg",
            "type": kind,
        }
        named = (
            {"user": name, "orgs": [], "isPro": False} if kind == "user" else {"name": name, "numUsers": 1}
        )
        return facts | named | counts | {"numLikes": 0, "numFollowers": 0, "numFollowing": 0}

    def likers(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/likers`: nobody."""
        return json_reply([])

    def auth_check(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/auth-check[/write]`: 200 and nothing, or a coded refusal."""
        self._world.readable(ask, repo)
        if rest == ["write"]:
            self._world.writable(ask, repo.namespace)
        return Reply(200)


def _token_facts(user: User) -> dict[str, object]:
    return {"displayName": "double", "role": user.role, "createdAt": "2024-01-01T00:00:00.000Z"}


def _number(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:24]
