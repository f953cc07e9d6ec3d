"""Variables that change what Hub clients do, and which clients are on this machine."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from moongate.cli.doctor.finding import Finding
from moongate.upstream.proxies import Proxies

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_FALSE = frozenset({"", "0", "no", "off", "false"})

# Distributions a Python client may be made of, and programs with the flag that prints their version.
_LIBRARIES = ("huggingface_hub", "hf_xet", "transformers", "datasets", "diffusers")
_PROGRAMS = {
    "hf": ("version",),
    "git": ("--version",),
    "git-lfs": ("--version",),
    "curl": ("--version",),
    "aria2c": ("--version",),
    "ollama": ("--version",),
    "llama-cli": ("--version",),
}
_PROGRAM_SECONDS = 5.0
_VERSION = re.compile(r"\d+\.\d+[0-9A-Za-z.+-]*")


def check_variables(environment: Mapping[str, str], gateway_url: str) -> list[Finding]:
    """What the environment of this shell makes of clients started in it."""
    findings = [_endpoint(environment, gateway_url)]
    endpoint = environment.get("HF_ENDPOINT", "")
    if endpoint:
        findings += _proxies(environment, endpoint)
        findings += _token_in_the_clear(environment, endpoint)
    findings += [
        Finding("client variables", "warning", words, advice)
        for applies, words, advice in _ODDITIES
        if applies(environment)
    ]
    return findings


def check_clients(path: str | None = None) -> list[Finding]:
    """Versions of the clients that are here; programs are looked for in `path` (default: PATH)."""
    libraries = [f"{name} {version}" for name in _LIBRARIES if (version := _library(name))]
    found = {name: where for name in _PROGRAMS if (where := shutil.which(name, path=path))}
    with ThreadPoolExecutor(max_workers=4) as pool:
        versions = list(pool.map(lambda name: _program(found[name], _PROGRAMS[name]), found))
    programs = [f"{name} {version}" for name, version in zip(found, versions, strict=True)]
    findings = [Finding("clients", "ok", ", ".join(libraries + programs) or "none found on this machine")]
    if "git" in found and "git-lfs" not in found:
        findings.append(
            Finding(
                "clients",
                "note",
                "git is here without git-lfs: a clone gets pointers instead of weights",
                "install git-lfs",
            )
        )
    return findings


def _endpoint(environment: Mapping[str, str], gateway_url: str) -> Finding:
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/")
    advice = f"export HF_ENDPOINT={gateway_url}"
    if not endpoint:
        return Finding(
            "HF_ENDPOINT", "note", "not set in this shell: clients started here go past the gateway", advice
        )
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Finding("HF_ENDPOINT", "failed", f"{endpoint!r} is no http:// or https:// address", advice)
    if _same_place(endpoint, gateway_url):
        return Finding("HF_ENDPOINT", "ok", f"{endpoint}: clients started here come to the gateway")
    return Finding(
        "HF_ENDPOINT", "note", f"{endpoint} is not where this gateway listens ({gateway_url})", advice
    )


def _proxies(environment: Mapping[str, str], endpoint: str) -> list[Finding]:
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").lower()
    named = environment.get("all_proxy") or environment.get("ALL_PROXY")
    variables = dict(environment)
    if named:
        variables.setdefault(f"{parts.scheme}_proxy", named)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # Unlike us, clients send even loopback addresses to a proxy unless NO_PROXY says otherwise.
    if not any(
        variables.get(f"{parts.scheme}_proxy".upper() if upper else f"{parts.scheme}_proxy")
        for upper in (False, True)
    ):
        return []
    around = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if _goes_around(around, host, port):
        return []
    return [
        Finding(
            "proxy",
            "warning",
            f"clients started here ask {host} through a proxy",
            f"export NO_PROXY={','.join(filter(None, (around, host)))}",
        )
    ]


def _goes_around(rules: str, host: str, port: int) -> bool:
    probe = {"http_proxy": "http://proxy.invalid:3128", "no_proxy": rules}
    stand_in = host if host not in _LOOPBACK else ""
    if stand_in:
        return Proxies(probe).choose("http", stand_in, port) is None
    return host in {rule.strip().lower() for rule in rules.split(",")} or "*" in rules.split(",")


def _token_in_the_clear(environment: Mapping[str, str], endpoint: str) -> list[Finding]:
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or (parts.hostname or "") in _LOOPBACK or not environment.get("HF_TOKEN"):
        return []
    return [
        Finding(
            "HF_TOKEN",
            "warning",
            f"goes to {parts.hostname} in the clear: HF_ENDPOINT is http://",
            "put TLS in front of the gateway and use https://",
        )
    ]


def _on(environment: Mapping[str, str], *names: str) -> bool:
    return any(environment.get(name, "").strip().lower() not in _FALSE for name in names)


def _seconds(environment: Mapping[str, str], name: str) -> float | None:
    try:
        return float(environment[name])
    except (KeyError, ValueError):
        return None


def _short(name: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda environment: (value := _seconds(environment, name)) is not None and value < 10


_ODDITIES: tuple[tuple[Callable[[Mapping[str, str]], bool], str, str], ...] = (
    (
        lambda environment: _on(environment, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
        "HF_HUB_OFFLINE is set: clients started here ask nobody, not even the gateway",
        "unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE",
    ),
    (
        lambda environment: _on(environment, "HUGGINGFACE_CO_STAGING"),
        "HUGGINGFACE_CO_STAGING is set: it overrides HF_ENDPOINT",
        "unset HUGGINGFACE_CO_STAGING",
    ),
    (
        lambda environment: _on(environment, "HF_HUB_ENABLE_HF_TRANSFER"),
        "HF_HUB_ENABLE_HF_TRANSFER is set: huggingface_hub ignores it since 1.0",
        "unset HF_HUB_ENABLE_HF_TRANSFER",
    ),
    (
        _short("HF_HUB_ETAG_TIMEOUT"),
        "HF_HUB_ETAG_TIMEOUT is below 10 s: a first look at a new file may give up too early",
        "unset HF_HUB_ETAG_TIMEOUT",
    ),
    (
        _short("HF_HUB_DOWNLOAD_TIMEOUT"),
        "HF_HUB_DOWNLOAD_TIMEOUT is below 10 s: a cold file may pause longer than that",
        "unset HF_HUB_DOWNLOAD_TIMEOUT",
    ),
    (
        lambda environment: _on(environment, "MODEL_ENDPOINT"),
        "MODEL_ENDPOINT is set: llama.cpp uses it instead of HF_ENDPOINT",
        "unset MODEL_ENDPOINT, or set it to the gateway's address",
    ),
)


def _same_place(left: str, right: str) -> bool:
    one, other = urlsplit(left), urlsplit(right)
    return (_host(one.hostname), one.port, one.scheme) == (_host(other.hostname), other.port, other.scheme)


def _host(name: str | None) -> str:
    return "localhost" if name in _LOOPBACK else (name or "")


def _library(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _program(path: str, arguments: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (a path that `which` found, and fixed arguments)
            [path, *arguments], capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "(does not start)"
    found = _VERSION.search(done.stdout) or _VERSION.search(done.stderr)
    return found.group() if found else "(version unknown)"
