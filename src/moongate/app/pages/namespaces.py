"""`/-/namespaces`: where repositories of our own live, who may do what there, and the teams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from moongate.app.pages.visits import PageAnswer, Shown, Visit
from moongate.web.views import NamespacesView, NamespaceView

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


class NamespacePages:
    """An overview; changes are made on the command line and by the admin API."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def show(self, visit: Visit) -> PageAnswer:
        view = await asyncio.to_thread(self._gather, visit)
        return Shown("namespaces", "Namespaces and teams", {"view": view})

    def _gather(self, visit: Visit) -> NamespacesView:
        places = self._gateway.repos.hosted.places
        mine, user = dict(places.namespaces_of(visit.caller)), visit.caller.user
        roles: dict[str, list[tuple[str, str]]] = {}
        if visit.is_admin:
            for place, subject, role in places.access():
                roles.setdefault(place, []).append((subject, role))
        spaces = [
            NamespaceView(
                name=space.name,
                role=mine.get(space.name, ""),
                repos=space.repos,
                used_bytes=space.used_bytes,
                quota_bytes=space.limits.quota_bytes or 0,
                roles=roles.get(space.name.lower(), []),
            )
            for space in places.overview()
        ]
        known = visit.caller.kind == "token"
        teams = [
            (team, members)
            for team, members in sorted(places.teams().items())
            if visit.is_admin or (known and user in members)
        ]
        return NamespacesView(spaces, teams, visit.is_admin)
