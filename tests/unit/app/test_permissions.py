"""Everything that is answered has a permission, and the door holds everybody to it."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from moongate.app import lane
from moongate.app.door import Door, DoorRules
from moongate.app.permissions import CAS_ROUTES, ROUTES, UPLOADS, Needs, Page, Permission
from moongate.app.settings import Settings
from moongate.app.wiring.front import Front, front_door
from moongate.app.wiring.gateway import build
from moongate.core.callers import ANONYMOUS, LOCAL_USER, Caller, Secret
from moongate.core.errors import NotAllowed
from moongate.wire import routes
from moongate.wire.cas_paths import CasRoute
from support.house import FakeTokens

KNOWN = set(typing.get_args(Permission))


@pytest.fixture
async def front(tmp_path: Path) -> typing.AsyncIterator[Front]:
    """A whole gateway as it is really wired, without a socket."""
    gateway = build(Settings(home=tmp_path, upstream="http://127.0.0.1:9", offline=True))
    front = front_door(gateway)
    yield front
    front.close()
    await gateway.close()


def test_every_kind_of_route_has_a_permission() -> None:
    assert set(ROUTES) == set(typing.get_args(routes.Route))
    assert set(CAS_ROUTES) == set(typing.get_args(CasRoute))
    for needs in (*ROUTES.values(), *CAS_ROUTES.values(), UPLOADS):
        assert {needs.read, needs.write} <= KNOWN


async def test_every_handler_page_and_operation_has_a_permission(front: Front) -> None:
    dispatch = front.dispatch
    assert set(dispatch.handlers) == set(ROUTES), "a handler without a permission, or the other way round"
    pages = {**dispatch.pages, **dispatch.below}
    assert {"/", "/metrics", "/healthz", "/readyz", "/api/moongate/"} <= set(pages)
    for address, page in pages.items():
        assert isinstance(page, Page), address
        assert {page.read, page.write or page.read} <= KNOWN, address
    assert len(front.operations) > 30
    for operation in front.operations:
        assert operation.permission in KNOWN, f"{operation.method} {operation.path} has no permission"


def test_the_fast_lane_takes_only_what_is_for_whom_the_door_lets_in() -> None:
    for kind in (*lane.TAKEN, routes.Resolve):
        assert ROUTES[kind].read == "read", kind


ADMIN = Caller("token", "root", "admin")
WRITER = Caller("token", "ada", "write")
READER = Caller("token", "bob", "read")
APPROVER = Caller("token", "eve", "write", roles=("approver@acme",))
IDLE_APPROVER = Caller("token", "eve", "read", roles=("approver",))
BOUND = Caller("token", "ci", "write", places=("acme",))
HUB_USER = Caller("upstream", "0123", credential=Secret("hf_ada"))
LOCAL_HUB_USER = Caller("upstream", "0123", "admin", credential=Secret("hf_ada"))
PRINCIPALS = {
    "nobody": ANONYMOUS, "local": LOCAL_USER, "reader": READER, "writer": WRITER, "admin": ADMIN,
    "approver": APPROVER, "idle approver": IDLE_APPROVER, "bound": BOUND, "hub user": HUB_USER,
    "local hub user": LOCAL_HUB_USER,
}  # fmt: skip
EVERYBODY = set(PRINCIPALS)
LET_IN: dict[str, set[str]] = {
    "public": EVERYBODY,
    "read": EVERYBODY,
    "sealed": EVERYBODY,
    "write": EVERYBODY - {"reader", "idle approver"},
    "watch": {"reader", "writer", "admin", "approver", "idle approver", "bound"},
    "user": {"reader", "writer", "admin", "approver", "idle approver", "bound"},
    "approve": {"admin", "approver", "local", "local hub user"},
    "admin": {"admin"},
}
"""Who passes the door for what, from an address that is not this machine's."""


def cells() -> Iterator[tuple[str, str]]:
    for permission in sorted(KNOWN):
        for name in PRINCIPALS:
            yield permission, name


@pytest.mark.parametrize(("permission", "name"), list(cells()))
def test_who_passes_for_what(permission: Permission, name: str) -> None:
    door = Door(FakeTokens(), DoorRules(loopback=False))
    request = make_mocked_request("POST", "/", headers={"Host": "gate.example"})
    passes = True
    try:
        door.require(permission, PRINCIPALS[name], request)
    except NotAllowed:
        passes = False
    assert passes == (name in LET_IN[permission])


@pytest.mark.parametrize("name", sorted(PRINCIPALS))
def test_what_has_no_permission_is_for_nobody(name: str) -> None:
    door = Door(FakeTokens(), DoorRules())
    with pytest.raises(NotAllowed, match="Nobody was given"):
        door.require(None, PRINCIPALS[name], make_mocked_request("GET", "/"))


def test_needs_go_by_method() -> None:
    needs = Needs("read", "write")
    assert [needs.of(method) for method in ("GET", "HEAD", "POST", "DELETE", "BREW")] == [
        "read", "read", "write", "write", "write",
    ]  # fmt: skip
