"""The admin API's operations on trusts, roles, accounts and groups."""

from __future__ import annotations

import asyncio

from moongate.app.admin import identity_models as models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, needing, required
from moongate.core.accounts import TrustRow
from moongate.core.callers import GatewayRole
from moongate.core.errors import BadRequest
from moongate.hub.people import People, RoleGiven
from moongate.hub.standing import GATEWAY_ROLES
from moongate.hub.trusts import NewTrust, Trusts


def identity_operations(people: People, trusts: Trusts) -> tuple[Operation, ...]:
    """The operations. What they change holds at once here, and within moments in other processes."""
    admin, role, account = _AdminIdentity(people, trusts), models.Role, models.NewAccount
    state, pair, of_role = models.AccountState, models.GroupTeam, ("subject", "role", "namespace")
    return needing(
        "admin",
        Operation("GET", "/trusts", "Trusted issuers", admin.trusts, models.Trusts),
        Operation("POST", "/trusts", "Trust one", admin.trust, models.Trust, models.NewTrust,
                  status=201, audited="trust.create"),
        Operation("DELETE", "/trusts/{id}", "Trust no more", admin.distrust, Gone, audited="trust.delete"),
        Operation("GET", "/roles", "Roles of the gateway", admin.roles, models.Roles),
        Operation("POST", "/roles", "Give a role", admin.give_role, role, role,
                  status=201, audited="access.grant"),
        Operation("DELETE", "/roles", "Take a role back", admin.take_role, Gone, query=of_role,
                  audited="access.revoke"),
        Operation("GET", "/accounts", "People and service accounts", admin.accounts, models.Accounts),
        Operation("POST", "/accounts", "A service account", admin.add_service, account, account,
                  status=201, audited="account.create"),
        Operation("POST", "/accounts/state", "Disable, enable", admin.set_disabled, state, state,
                  audited="account.change"),
        Operation("GET", "/groups", "Groups in teams", admin.groups, models.GroupTeams),
        Operation("POST", "/groups", "Have a group be in a team", admin.map_group, pair, pair,
                  status=201, audited="access.grant"),
        Operation("DELETE", "/groups", "Take that back", admin.unmap_group, Gone, query=("group", "team"),
                  audited="access.revoke"),
    )  # fmt: skip


class _AdminIdentity:
    def __init__(self, people: People, trusts: Trusts) -> None:
        self._people = people
        self._trusts = trusts

    async def trusts(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._trusts.rows)
        return models.Trusts(trusts=[_trust(row) for row in rows])

    async def trust(self, asked: Asked) -> Model:
        wanted: models.NewTrust = asked.body
        fields = wanted.model_dump()
        new = NewTrust(**{**fields, "places": tuple(wanted.places)})
        return _trust(await asyncio.to_thread(self._trusts.add, new))

    async def distrust(self, asked: Asked) -> Model:
        return Gone(removed=await asyncio.to_thread(self._trusts.remove, asked.part))

    async def roles(self, _: Asked) -> Model:
        given = await asyncio.to_thread(self._people.roles)
        return models.Roles(
            roles=[
                models.Role.model_construct(subject=one.subject, role=one.role, namespace=one.namespace)
                for one in given
            ]
        )

    async def give_role(self, asked: Asked) -> Model:
        wanted: models.Role = asked.body
        await asyncio.to_thread(self._people.give, RoleGiven(wanted.subject, wanted.role, wanted.namespace))
        return wanted

    async def take_role(self, asked: Asked) -> Model:
        role = _role(required(asked.query, "role"))
        given = RoleGiven(required(asked.query, "subject"), role, asked.query.get("namespace") or None)
        return Gone(removed=await asyncio.to_thread(self._people.take, given))

    async def accounts(self, _: Asked) -> Model:
        known = await asyncio.to_thread(self._people.known)
        return models.Accounts(
            accounts=[
                models.Account(
                    name=one.row.name,
                    kind=one.row.kind,
                    issuer=one.row.issuer,
                    subject=one.row.subject,
                    created_at=one.row.created_at,
                    seen_at=one.row.seen_at,
                    disabled_at=one.row.disabled_at,
                    note=one.row.note,
                    groups=list(one.groups),
                    teams=list(one.teams),
                    roles=list(one.roles),
                )
                for one in known
            ]
        )

    async def add_service(self, asked: Asked) -> Model:
        row = await asyncio.to_thread(self._people.add_service, asked.body.name, asked.body.note)
        return models.NewAccount(name=row.name, note=row.note)

    async def set_disabled(self, asked: Asked) -> Model:
        wanted: models.AccountState = asked.body
        await asyncio.to_thread(self._people.set_disabled, wanted.name, disabled=wanted.disabled)
        return wanted

    async def groups(self, _: Asked) -> Model:
        known = await asyncio.to_thread(self._people.group_map)
        return models.GroupTeams(
            groups=[models.GroupTeam.model_construct(group=group, team=team) for group, team in known]
        )

    async def map_group(self, asked: Asked) -> Model:
        await asyncio.to_thread(self._people.map_group, asked.body.group, asked.body.team)
        return models.GroupTeam(group=asked.body.group, team=asked.body.team)

    async def unmap_group(self, asked: Asked) -> Model:
        group, team = required(asked.query, "group"), required(asked.query, "team")
        return Gone(removed=await asyncio.to_thread(self._people.unmap_group, group, team))


def _trust(row: TrustRow) -> models.Trust:
    return models.Trust(
        id=row.id,
        issuer=row.issuer,
        claims=dict(row.claims),
        user=row.user,
        scope=row.scope,
        places=list(row.places),
        audience=row.audience,
        algorithm=row.algorithm,
        ttl_seconds=row.ttl_seconds,
        direct=row.direct,
        note=row.note,
        created_at=row.created_at,
    )


def _role(text: str) -> GatewayRole:
    for role in GATEWAY_ROLES:
        if role == text:
            return role
    raise BadRequest(f"not a role: {text[:20]!r} (one of {', '.join(GATEWAY_ROLES)})")
