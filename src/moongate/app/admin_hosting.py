"""The admin API's operations on namespaces, teams and access to what is hosted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from moongate.app import hosting_models as models
from moongate.app.admin_models import Gone, Model
from moongate.core.errors import BadRequest
from moongate.hub.hosted.places import Places


class Asked(Protocol):
    """A request to one operation; see `admin_routes.Asked`."""

    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> Any: ...  # a value of the operation's `takes`


class AdminHosting:
    """Runs these operations. What they change holds from the next request on, in every process."""

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
        name = _required(asked.query, "name")
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
        team, user = _required(asked.query, "team"), _required(asked.query, "user")
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
        place, subject = _required(asked.query, "place"), _required(asked.query, "subject")
        return Gone(removed=await asyncio.to_thread(self._places.disallow, place, subject))


def _required(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        raise BadRequest(f"the query lacks {name!r}")
    return value
