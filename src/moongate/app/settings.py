"""Settings: one row each (name, default, unit, help), read from flags, environment and moongate.toml.

A flag wins over `MOONGATE_<NAME>`, that over `moongate.toml` in the working directory, that over
`moongate.toml` in the home, that over the default. A key nobody knows is an error that names it.
Secrets show as stars wherever settings are printed.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from moongate.core.callers import Secret
from moongate.core.errors import MoongateError
from moongate.core.names import is_repo_segment
from moongate.core.sizes import size_in

PREFIX = "MOONGATE_"
FILE_NAME = "moongate.toml"
NOT_SETTINGS = frozenset({"MOONGATE_URL", "MOONGATE_TOKEN"})
"""Variables of the command line's remote half."""

MIB = 1 << 20
GIB = 1 << 30

Names = Annotated[tuple[str, ...], NoDecode]
"""A list of words: an array in a file; separated by commas in the environment."""


class BadSettings(MoongateError):
    """A setting that is unknown or makes no sense. One line per problem, no secret in any."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """What a manual says of one setting. `unit` is empty where the value is a word or a switch."""

    name: str
    default: object
    unit: str
    help: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


def _row(default: object, help_text: str, unit: str = "", **bounds: float) -> Any:  # what pydantic's Field is
    constraints: dict[str, Any] = dict(bounds)
    return Field(default=default, description=help_text, json_schema_extra={"unit": unit}, **constraints)


class _Environment(EnvSettingsSource):
    """`MOONGATE_*`, without the `MOONGATE_PORT=tcp://…` that Kubernetes makes of a service of our name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if field_name == "port" and isinstance(value, str) and value.startswith("tcp://"):
            value = None
        return value, key, is_complex


class Settings(BaseSettings):
    """All that can be set, checked. `load` reads every source and explains what is wrong."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )

    host: str = _row("127.0.0.1", "Address to listen on. Anything but loopback needs tokens.")
    port: int = _row(8080, "Port to listen on; 0 takes a free one and prints it.", ge=0, le=65535)
    upstream: str = _row("https://huggingface.co", "The Hub this gateway stands in front of.", "URL")
    home: Path = _row(Path("~/.moongate"), "Where the index, the store and moongate.toml live.", "path")
    store: Path | None = _row(None, "Where blobs are kept; `store` in the home when unset.", "path")
    database: str | None = _row(
        None, "The index: sqlite:///… or postgresql://…; SQLite in the home when unset.", "URL"
    )
    offline: bool = _row(False, "Never ask upstream; serve what is kept.")
    allow_anonymous: bool = _row(False, "Serve callers without a token on any address.")
    workers: int = _row(1, "Processes that share the port.", ge=1, le=64)
    upstream_token: SecretStr | None = _row(
        None, "The gateway's own Hub token: fetches public files, and serves users with a grant."
    )
    upstream_allowed_hosts: Names = _row(
        (), "Further hosts upstream may redirect to: host[:port] or *.suffix; these may be private addresses."
    )
    upstream_orgs: Names = _row((), "Members of these Hub organisations may enter with their Hub token.")
    oidc_issuer: str | None = _row(
        None, "Where people sign in: an OpenID Connect issuer, as its tokens name it.", "URL"
    )
    oidc_client_id: str = _row("", "What the issuer calls this gateway.")
    oidc_client_secret: SecretStr | None = _row(None, "The gateway's secret at the issuer, if it has one.")
    oidc_user_claim: str = _row(
        "email", "What of an ID token becomes a user's name: email, preferred_username or another claim."
    )
    oidc_groups_claim: str = _row("groups", "Where an ID token lists a user's groups.")
    sign_in_role: Literal["reader", "publisher", "approver", "admin"] | None = _row(
        None, "What everybody may who signs in: reader or publisher; unset, who has no role is turned away."
    )
    session_seconds: float = _row(43200.0, "How long somebody stays signed in in a browser.", "seconds", gt=0)
    token_max_seconds: float = _row(0.0, "Longest life of a new token; 0 is no limit.", "seconds", ge=0)
    public_url: str | None = _row(
        None, "Our address as clients see it, when something stands in front of us.", "URL"
    )
    server_names: Names = _row((), "Further names clients may call us by while we listen on loopback.")
    trusted_proxies: Names = _row(
        (), "Addresses or networks whose X-Forwarded-Proto and X-Forwarded-Host are believed."
    )
    ref_ttl_seconds: float = _row(60.0, "How long a branch is not asked again.", "seconds", ge=0)
    absent_ttl_seconds: float = _row(30.0, "How long an absence is remembered.", "seconds", ge=0)
    access_ttl_seconds: float = _row(300.0, "How long a caller's confirmed access holds.", "seconds", ge=0)
    access_grace_seconds: float = _row(
        3600.0, "How long it still counts while upstream cannot be asked.", "seconds", ge=0
    )
    upstream_timeout_seconds: float = _row(10.0, "Longest silence of upstream.", "seconds", gt=0)
    hosted_namespaces: Names = _row(
        (), "Namespaces whose repositories live here; `moongate namespace add` declares more."
    )
    upload_lease_seconds: float = _row(
        86400.0, "How long uploaded content waits for the commit that lists it.", "seconds", gt=0
    )
    upload_part_bytes: int = _row(
        64 * MIB,
        "Longer LFS files are uploaded in parts of this length, by clients that can.",
        "bytes",
        ge=64 * 1024,
    )
    trusted_signers: Path | None = _row(
        None,
        "Folder with public keys, root certificates and identities whose signatures are believed; `signers` "
        "in the home when unset.",
        "path",
    )
    xet: bool = _row(
        True,
        "Serve files that upstream keeps in Xet through Xet too; off hides it. Hosted files always are.",
    )
    xet_hot_reads: float = _row(
        2.0,
        "How often a file kept as chunks is read plainly, whole or in parts, before a whole copy "
        "is kept as well; 0 never.",
        ge=0,
    )
    fill_connections: int = _row(8, "Most upstream connections for one file.", ge=1, le=64)
    fill_whole_after: float = _row(
        0.5, "Share of a file read by ranges after which the rest is fetched; 0 at once, 1 never.", ge=0, le=1
    )
    sparse_span_bytes: int = _row(8 * MIB, "A range up to this long fetches only itself.", "bytes", ge=0)
    policy: str = _row(
        "balanced", "What may pass: `open`, `balanced`, `strict`, or a policy file or folder.", "name or path"
    )
    two_approvers: bool = _row(
        False, "An approval needs two persons, neither of whom asked for it; no other exceptions are made."
    )
    webhook_allowed_hosts: Names = _row(
        (), "Hosts that webhooks may reach although their address is private: host[:port]."
    )
    quota_bytes: int = _row(0, "Most bytes the store may hold; 0 is no limit.", "bytes", ge=0)
    eviction: Literal["lru", "fifo", "largest"] = _row(
        "lru", "Which files go first when the quota is reached."
    )
    min_free_bytes: int = _row(1 * GIB, "Room left free on the disk.", "bytes", ge=0)
    memory_cache_bytes: int = _row(64 * MIB, "Memory for ready-made answers, per process.", "bytes", ge=0)
    client_timeout_seconds: float = _row(
        75.0,
        "Longest silence of a client that keeps a connection open or owes us its request.",
        "seconds",
        gt=0,
    )
    drain_seconds: float = _row(
        30.0, "How long running responses may take to finish on a stop.", "seconds", ge=0
    )
    log_level: Literal["debug", "info", "warning", "error"] = _row("info", "Least severe words on stderr.")
    log_format: Literal["json", "text"] = _row("text", "Shape of log lines.")
    guard: Literal["off", "observe", "enforce"] = _row(
        "enforce",
        "Judge content before it is given out: enforce refuses what the policy refuses, observe only tells, "
        "off looks at nothing.",
    )
    scanners: Names = _row(
        ("installed",),
        "Other scanners that the guard asks about what can run code: installed (picklescan, modelaudit, and "
        "yara for rules of feeds), or some of picklescan, modelaudit, yara, yara:RULES.yar, "
        "clamd:unix:PATH and clamd:tcp:127.0.0.1:PORT; none.",
    )
    log_requests: bool = _row(True, "Write one line per request.")
    audit_checkpoints: str | None = _row(
        None,
        "Where signed checkpoints of the audit log are taken: a file, a folder (ends in /), syslog: or "
        "syslog://host:port.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        files = _files(given)
        return (
            init_settings,
            _Environment(settings_cls),
            TomlConfigSettingsSource(settings_cls, toml_file=files),
        )

    @classmethod
    def load(cls, **flags: object) -> Settings:
        """The settings of this process: these flags (None means not given), environment and files.

        Raises:
            BadSettings: something is unknown, malformed or impossible.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            raise BadSettings("\n".join(_problem(detail, given) for detail in error.errors())) from None
        except tomllib.TOMLDecodeError as error:
            raise BadSettings(f"{_not_toml(given)} is not TOML: {error}") from None
        except OSError as error:
            raise BadSettings(f"cannot read {error.filename}: {error.strerror}") from None

    @field_validator(
        "upstream_allowed_hosts",
        "upstream_orgs",
        "server_names",
        "trusted_proxies",
        "hosted_namespaces",
        "webhook_allowed_hosts",
        "scanners",
        mode="before",
    )
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(word for word in re.split(r"[,\s]+", value) if word) if isinstance(value, str) else value

    @field_validator(
        "quota_bytes",
        "min_free_bytes",
        "memory_cache_bytes",
        "sparse_span_bytes",
        "upload_part_bytes",
        mode="before",
    )
    @classmethod
    def _read_size(cls, value: object) -> object:
        size_bytes = size_in(value) if isinstance(value, str) else None
        return value if size_bytes is None else size_bytes

    @field_validator("home", "store", mode="before")
    @classmethod
    def _check_folder(cls, value: object) -> object:
        if "://" in str(value):
            raise ValueError("expected a folder of this machine; buckets cannot be used yet")
        return value

    @field_validator("upstream", "public_url", "oidc_issuer")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected http://host or https://host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL here must not carry a user name or password")
        return value.rstrip("/")

    @field_validator("hosted_namespaces")
    @classmethod
    def _check_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not is_repo_segment(name):
                raise ValueError(
                    f"{name[:40]!r} cannot be a namespace: expected the part of acme/tiny before the slash"
                )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text, strict=False)
        return value

    @field_validator("home", "store", "trusted_signers")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach us."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def own_token(self) -> Secret | None:
        """The gateway's own Hub token, as the rooms below carry it."""
        token = self.upstream_token.get_secret_value() if self.upstream_token else ""
        return Secret(token) if token else None

    def printable(self) -> dict[str, object]:
        """Name and value of each setting; secrets are stars, passwords in URLs too."""
        shown: dict[str, object] = {}
        for name, value in self:
            if isinstance(value, SecretStr):
                shown[name] = "•••"
            elif isinstance(value, Path):
                shown[name] = str(value)
            elif name == "database" and isinstance(value, str):
                shown[name] = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:•••@", value)
            else:
                shown[name] = list(value) if isinstance(value, tuple) else value
        return shown


def setting_rows() -> list[SettingRow]:
    """The table of settings, in the order a reader should meet them."""
    rows = []
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        rows.append(SettingRow(name, field.default, unit, field.description or ""))
    return rows


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """One line for each `MOONGATE_*` variable that sets nothing, with the nearest name that would."""
    known = {row.variable for row in setting_rows()} | NOT_SETTINGS
    lines = []
    for variable in sorted(environ):
        # Kubernetes links: MOONGATE_SERVICE_HOST, MOONGATE_PORT_8080_TCP_ADDR…
        linked = variable.startswith((PREFIX + "SERVICE_", PREFIX + "PORT_"))
        if variable.startswith(PREFIX) and variable not in known and not linked:
            lines.append(f"{variable} sets nothing{_did_you_mean(variable, known)}")
    return lines


def _files(given: Mapping[str, object]) -> list[Path]:
    """The files that are there to read, beside these flags; a later one wins."""
    here = Path(FILE_NAME)
    home = given.get("home") or os.environ.get(PREFIX + "HOME") or _home_named_in(here) or "~/.moongate"
    return [file for file in (Path(str(home)).expanduser() / FILE_NAME, here) if file.is_file()]


def _keys_of(file: Path) -> Mapping[str, object] | None:
    """What a file sets; None when it is not TOML."""
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except (OSError, tomllib.TOMLDecodeError):
        return None


def _not_toml(given: Mapping[str, object]) -> str:
    return next((str(file.absolute()) for file in _files(given) if _keys_of(file) is None), FILE_NAME)


def _file_of(name: str, given: Mapping[str, object]) -> str:
    """` in FILE` when a file's value of this setting is the one that counts."""
    if name in given or PREFIX + name.upper() in os.environ:
        return ""
    found = [file for file in _files(given) if name in (_keys_of(file) or {})]
    return f" (in {found[-1].absolute()})" if found else ""


def _home_named_in(file: Path) -> str | None:
    """The `home` a file in the working directory names; malformed files are reported by the real reading."""
    home = (_keys_of(file) or {}).get("home")
    return home if isinstance(home, str) else None


def _problem(detail: Mapping[str, Any], given: Mapping[str, object]) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "settings"
    where = _file_of(name, given)
    if detail["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{_did_you_mean(name, Settings.model_fields)}{where}"
    reason = str(detail["msg"]).removeprefix("Value error, ")
    if name.endswith("_bytes") and detail["type"] == "int_parsing":
        reason = "expected a size such as 500, 20GB or 1.5TiB"
    return f"{name} ({PREFIX}{name.upper()}): {reason[:1].lower()}{reason[1:]}{where}"


def _did_you_mean(name: str, known: object) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"; did you mean {near[0]!r}?" if near else ""
