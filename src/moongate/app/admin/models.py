"""What the admin API takes and gives; its OpenAPI document is made from these. Times are unix seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from moongate.core.callers import Scope, TokenOrigin


class Model(BaseModel):
    """A JSON object whose keys are all known."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Filling(Model):
    """A file being fetched by the process that answers."""

    etag: str
    present_bytes: int
    size_bytes: int


class Status(Model):
    """How the gateway is."""

    name: Literal["moongate"] = "moongate"
    version: str
    started_at: float
    upstream: str
    offline: bool
    workers: int
    repos: int
    blobs: int
    blob_bytes: int
    xet_files: int
    xorb_bytes: int
    quota_bytes: int
    free_bytes: int
    filling: list[Filling]


class Repo(Model):
    """What one repository has here.

    `logical_bytes`: its files, added up. `stored_bytes`: what they take on disk. `saved_bytes`: the
    difference. `own_bytes`: the part on disk that no other repository has.
    """

    repo: str
    files: int
    logical_bytes: int
    stored_bytes: int
    saved_bytes: int
    own_bytes: int
    last_read_at: float | None
    pinned: bool


class Repos(Model):
    repos: list[Repo]


class Removed(Model):
    """What a removal freed; `kept_bytes` stay because other repositories need them, too."""

    freed_bytes: int
    kept_bytes: int
    blobs: int
    kept_blobs: int
    filling: int
    xet_files: int
    kept_xet_files: int


class Usage(Model):
    """The store as a whole.

    `logical_bytes`: what all repositories hold, each for itself. `stored_bytes`: what blobs and xorbs take.
    `saved_bytes`: what keeping equal files and equal chunks once saves.
    """

    blobs: int
    blob_bytes: int
    xet_files: int
    xorb_bytes: int
    logical_bytes: int
    stored_bytes: int
    saved_bytes: int
    unlisted_bytes: int
    partials: int
    partial_bytes: int
    quarantined: int
    quarantine_bytes: int
    free_bytes: int
    quota_bytes: int


class Pin(Model):
    """A repository, or one revision of it, that eviction passes over."""

    repo: str = Field(description="`ns/name`, `datasets/ns/name` or `spaces/ns/name`")
    revision: str | None = Field(default=None, description="a branch, tag or commit; all of it when absent")


class Pins(Model):
    pins: list[Pin]


class Token(Model):
    """One of the gateway's tokens, without its secret."""

    id: str
    user: str
    scope: Scope
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    note: str
    origin: TokenOrigin = Field(description="`sign-in`, `exchange`, or empty: an administrator made it")
    places: list[str] = Field(description="the namespaces and repositories it is bound to")
    last_used_at: float | None
    service: bool = Field(description="it is a service account's")


class Tokens(Model):
    tokens: list[Token]


class NewToken(Model):
    user: str = Field(min_length=1, max_length=96, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$")
    scope: Scope = "read"
    expires_seconds: float | None = Field(default=None, gt=0)
    note: str = Field(default="", max_length=500)
    places: list[str] = Field(default=[], max_length=100, description="bind it: `acme`, `acme/tiny`")


class Minted(Model):
    """A new token; the only time its secret is shown."""

    token: str
    id: str
    user: str
    scope: Scope
    created_at: float
    expires_at: float | None
    places: list[str] = []


class Revoked(Model):
    revoked: bool


class Grant(Model):
    """A user who may have, through the gateway's own Hub token, what matches the pattern."""

    user: str = Field(min_length=1, max_length=96)
    pattern: str = Field(min_length=1, max_length=200, description="such as `meta-llama/*`")


class Grants(Model):
    grants: list[Grant]


class Gone(Model):
    removed: bool


class Failure(Model):
    """A file that could not be fetched or was not what it claimed to be."""

    etag: str
    repo: str
    path: str
    why: str
    failed_at: float


class Failures(Model):
    failures: list[Failure]


class Collected(Model):
    """What a collection did."""

    registered: int
    rows_dropped: int
    partials: int
    temporaries: int
    quarantined: int
    answers: int
    doubted: int
    unproven: int
    leftovers: int
    orphans: int
    released: int
    freed_bytes: int


class Evicted(Model):
    freed_bytes: int
    blobs: int
    partials: int
    xet_files: int
    busy: int
    over_bytes: int


class NewPull(Model):
    repo: str
    revision: str = "main"
    include: list[str] = []
    exclude: list[str] = []


class NewVerify(Model):
    """Which blobs to hash again: those last found right before a time, or all."""

    verified_before: float | None = None


class Job(Model):
    """Work that goes on after the request: a pull or a verification."""

    id: str
    kind: Literal["pull", "verify"]
    subject: str
    state: Literal["running", "done", "failed", "cancelled"]
    started_at: float
    updated_at: float
    done_files: int = 0
    total_files: int | None = None
    done_bytes: int = 0
    total_bytes: int | None = None
    why: str = Field(default="", description="why it failed, or what it found")
    wrong: list[str] = Field(default=[], description="etags that a verification found wrong")


class Jobs(Model):
    jobs: list[Job]


class Problem(Model):
    """Every refusal. `X-Error-Code` says which."""

    error: str
