"""What answers in a gateway: hosted repositories, Xet, ways in, the door."""

from __future__ import annotations

import time

from moongate.app.cas_routes import CasRoutes
from moongate.app.cas_write_routes import CasWriteRoutes
from moongate.app.commit_routes import CommitRoutes
from moongate.app.data_addresses import DataAddresses
from moongate.app.data_lane import DataLane
from moongate.app.dispatch import CasHandler
from moongate.app.door import Door, DoorHasNoKey, DoorRules
from moongate.app.front import HostedRooms, cas_handler
from moongate.app.hosted_git_routes import HostedGitRoutes
from moongate.app.hosted_routes import HostedRoutes
from moongate.app.lfs_uploads import LfsUploads
from moongate.app.login_routes import LoginRoutes
from moongate.app.oauth_routes import DeviceRules, OAuthRoutes
from moongate.app.pages.pages import Pages
from moongate.app.sendfile import FileSender
from moongate.app.shared_secret import shared_secret
from moongate.app.upload_addresses import UploadAddresses
from moongate.app.wiring.gateway import Gateway
from moongate.app.wiring.ledgers import room_maker
from moongate.app.xet_routes import XetRoutes
from moongate.app.xet_tokens import XetTokens
from moongate.app.xorb_routes import XorbRoutes
from moongate.core.callers import Secret
from moongate.hub.by_xet import FilesByXet
from moongate.hub.chunks_at_hand import ChunksAtHand
from moongate.hub.guarded_xet import XetGuard
from moongate.hub.hosted.fetches import Fetches
from moongate.hub.hosted.git_door import GitDoor
from moongate.hub.hosted.git_folders import GitFolders
from moongate.hub.hosted.intake import Intake
from moongate.hub.hosted.pushes import Pushes, PushRules
from moongate.hub.hosted.xet_access import XetAccess
from moongate.hub.hosted.xet_uploads import XetUploads
from moongate.hub.xet_made import XetService
from moongate.store.bare.programs import Programs
from moongate.store.upload_files import UploadFiles

DEVICE_TOKEN_SECONDS = 30 * 86400.0
"""How long a token is good for that a person let a command line have, where no setting says less."""


def ways_in(gateway: Gateway, door: Door, pages: Pages) -> tuple[LoginRoutes, OAuthRoutes]:
    """Where people and workloads get sessions and tokens."""

    who, audit, settings = gateway.identity, gateway.audit, gateway.settings
    secret = shared_secret(settings.home)
    rules = DeviceRules(who.sign_ins is not None, settings.token_max_seconds or DEVICE_TOKEN_SECONDS)
    return (
        LoginRoutes(who.sign_ins, who.sessions, who.devices, door, audit, secret, pages.show),
        OAuthRoutes(who.trusts, who.devices, gateway.index, door, audit, rules),
    )


def hosted_rooms(gateway: Gateway, door: Door, xet: XetRoutes) -> HostedRooms:
    """What answers for repositories that live here, but for plain reads."""

    stock, hosted = gateway.stock, gateway.repos.hosted
    intake = Intake(
        stock.index,
        UploadFiles(stock.layout),
        hosted.contents,
        hosted.uploads,
        hosted.quotas,
        hosted.rules,
        time.time,
    )
    addresses = UploadAddresses(shared_secret(gateway.settings.home), door.still_good)
    programs = Programs()
    folders = GitFolders(stock.index, stock.blobs, stock.layout, programs)
    pushes = Pushes(hosted, folders, PushRules())
    git = HostedGitRoutes(
        GitDoor(hosted, Fetches(folders, programs), pushes), gateway.settings.client_timeout_seconds
    )
    return HostedRooms(
        gateway.repos.is_hosted,
        HostedRoutes(hosted, CommitRoutes(hosted, door.base_url), door.base_url),
        LfsUploads(hosted, intake, addresses, door.base_url, door.pass_of, xet.lfs_way),
        git,
    )


def xet_rooms(gateway: Gateway, door: Door, sender: FileSender) -> tuple[XetRoutes, CasHandler]:
    """The token route, and our CAS with its data."""

    secret = shared_secret(gateway.settings.home)
    tokens = XetTokens(secret, door.still_good)
    addresses = DataAddresses(secret)
    files = FilesByXet(gateway.index, gateway.repos, gateway.recalls)
    service = XetService(gateway.xets, gateway.index, gateway.content.fill, gateway.fills.keeps)
    questions = CasRoutes(
        tokens,
        files,
        service,
        addresses,
        gateway.offers,
        gateway.metrics,
        base_url=door.base_url,
        whole_after_bytes=gateway.settings.sparse_span_bytes,
        guard=XetGuard(gateway.guarding.guard, gateway.content, gateway.xets),
    )
    access = XetAccess(gateway.repos.hosted, gateway.repos.proxied.access)
    uploads = XetUploads(
        gateway.stock.layout,
        gateway.index,
        gateway.stock.segments,
        access=access,
        make_room=room_maker(gateway.stock, gateway.metrics),
    )
    writes = CasWriteRoutes(tokens, uploads, secret, base_url=door.base_url)
    data = XorbRoutes(
        service,
        sender,
        gateway.offers,
        gateway.metrics,
        addresses,
        gateway.recalls,
        gateway.guarding.guard,
    )
    ways = XetRoutes(
        gateway.repos, files, tokens, gateway.offers, access, base_url=door.base_url, pass_of=door.pass_of
    )
    return ways, cas_handler(questions, writes, data)


def data_lane_of(gateway: Gateway) -> DataLane:
    """Data of proven files, past the rooms that answer for all of it."""

    addresses = DataAddresses(shared_secret(gateway.settings.home))
    return DataLane(
        addresses,
        ChunksAtHand(gateway.xets),
        may_flow=gateway.guarding.guard.may_flow,
        anything_recalled=lambda: not gateway.recalls.is_idle,
    )


def make_door(gateway: Gateway) -> Door:
    """The door of a gateway; closed on addresses that others can reach.

    Raises:
        DoorHasNoKey: nobody could come in: it is closed, and there is no token.
    """

    settings = gateway.settings
    rules = DoorRules(
        loopback=settings.is_loopback,
        allow_anonymous=settings.allow_anonymous,
        upstream_orgs=settings.upstream_orgs,
        server_names=settings.server_names,
        public_url=settings.public_url,
        trusted_proxies=settings.trusted_proxies,
        access_ttl_seconds=settings.access_ttl_seconds,
        access_grace_seconds=settings.access_grace_seconds,
    )

    async def identity(credential: Secret) -> bytes:
        return (await gateway.upstream.get("/api/whoami-v2", credential)).body

    door = Door(
        gateway.index,
        rules,
        identity,
        stands=gateway.identity.standing,
        sessions=gateway.identity.sessions,
        last_used=gateway.identity.last_used,
        id_tokens=gateway.identity.id_tokens,
    )
    others_may = settings.upstream_orgs or settings.oidc_issuer or gateway.index.trusts()
    if not door.is_open and not others_may and not gateway.index.any_token(time.time()):
        raise DoorHasNoKey(settings.host)
    return door
