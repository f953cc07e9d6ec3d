"""The admin API's operations on namespaces, teams and access to what is hosted."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from moongate.app.admin import hosting_models as models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, needing, required
from moongate.hub.hosted.places import Places


def hosting_operations(places: Places) -> tuple[Operation, ...]:
    """The operations. What they change holds from the next request on, in every process."""
    admin, new, member, role = _AdminHosting(places), models.NewNamespace, models.Member, models.Access
    place, who = ("place",), ("place", "subject")
    return needing(
        "admin",
        Operation("GET", "/namespaces", "What is hosted here", admin.namespaces, models.Namespaces),
        Operation("POST", "/namespaces", "Host one", admin.add_namespace, models.Added, new,
                  status=201, audited="namespace.create"),
        Operation("POST", "/limits", "Limit one", admin.limit, models.Limits, models.NewLimits,
                  audited="namespace.change"),
        Operation("DELETE", "/namespaces", "Give one up", admin.give_up, Gone, query=("name",),
                  audited="namespace.delete"),
        Operation("GET", "/teams", "Teams and their members", admin.teams, models.Teams),
        Operation("POST", "/teams", "Put a user into one", admin.join, member, member,
                  status=201, audited="access.grant"),
        Operation("DELETE", "/teams", "Take a user out", admin.leave, Gone, query=("team", "user"),
                  audited="access.revoke"),
        Operation("GET", "/access", "Roles at places", admin.access, models.Accesses, query=place),
        Operation("POST", "/access", "Give a role", admin.allow, role, role,
                  status=201, audited="access.grant", administers="place"),
        Operation("DELETE", "/access", "Take a role back", admin.disallow, Gone, query=who,
                  audited="access.revoke", administers="place"),
    )  # fmt: skip


class _AdminHosting:
    def __init__(self, places: Places) -> None:
        self._places = places

    async def namespaces(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._places.overview)
        return models.Namespaces(
            namespaces=[
                models.Namespace(
                    name=row.name,
                    repos=row.repos,
                    used_bytes=row.used_bytes,
                    declared=row.declared,
                    open=row.is_open,
                    **asdict(row.limits),
                )
                for row in rows
            ]
        )

    async def add_namespace(self, asked: Asked) -> Model:
        return models.Added(added=await asyncio.to_thread(self._places.add_namespace, asked.body.name))

    async def limit(self, asked: Asked) -> Model:
        wanted: models.NewLimits = asked.body
        changes = wanted.model_dump(exclude={"name"})
        return models.Limits(**asdict(await asyncio.to_thread(self._places.limit, wanted.name, changes)))

    async def give_up(self, asked: Asked) -> Model:
        name = required(asked.query, "name")
        return Gone(removed=await asyncio.to_thread(self._places.remove_namespace, name))

    async def teams(self, _: Asked) -> Model:
        teams = await asyncio.to_thread(self._places.teams)
        return models.Teams(
            teams=[models.Team(team=team, members=members) for team, members in teams.items()]
        )

    async def join(self, asked: Asked) -> Model:
        await asyncio.to_thread(self._places.join, asked.body.team, asked.body.user)
        return models.Member(team=asked.body.team, user=asked.body.user)

    async def leave(self, asked: Asked) -> Model:
        team, user = required(asked.query, "team"), required(asked.query, "user")
        return Gone(removed=await asyncio.to_thread(self._places.leave, team, user))

    async def access(self, asked: Asked) -> Model:
        place = asked.query.get("place")
        rows = await asyncio.to_thread(self._places.access, place)
        return models.Accesses(
            access=[models.Access(place=place, subject=subject, role=role) for place, subject, role in rows]
        )

    async def allow(self, asked: Asked) -> Model:
        wanted: models.Access = asked.body
        await asyncio.to_thread(self._places.allow, wanted.place, wanted.subject, wanted.role)
        return wanted

    async def disallow(self, asked: Asked) -> Model:
        place, subject = required(asked.query, "place"), required(asked.query, "subject")
        return Gone(removed=await asyncio.to_thread(self._places.disallow, place, subject))
