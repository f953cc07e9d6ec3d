"""Runs huggingface_hub's own tests of repositories, commits and files against a gateway of ours.

    git clone https://github.com/huggingface/huggingface_hub checkout
    python3 -m venv env && env/bin/pip install -e './checkout[testing]' hf_xet pytest-timeout
    python3 scripts/hub_client_tests.py checkout --python env/bin/python

The tests, their dependencies and their licence are theirs; nothing of them is here. They speak to a Hub of
their maintainers', by constants that name it, its users and their tokens. This starts a gateway on this
machine, before an upstream that has nothing, makes such users on it, and puts its own values in place of
those constants: it is also the pytest plugin that does so (only when told where the gateway is).

Prints what did not pass and how many did; exits 0 when those are at least `--at-least`.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOLD = "MOONGATE_HUB_TESTS"
USERS = {"USER": "hubci", "OTHER_USER": "dvuser", "ENTERPRISE_USER": "enterprise-admin"}
TOKENS = {"TOKEN": "hubci", "OTHER_TOKEN": "dvuser", "ENTERPRISE_TOKEN": "enterprise-admin"}
SPOKE = "requests"
OUTCOMES = ("failure", "error", "skipped")
NAMESPACES = ("hubci", "dvuser", "enterprise-admin", "EnterpriseOrgPrivate")

# Classes (or modules) whose tests reach a server and need nothing but repositories of it.
SELECTION = {
    "test_hf_api.py": (
        "TestHfApiEndpoints", "TestCommitApi", "TestHfApiUploadEmptyFile", "TestHfApiDeleteFolder",
        "TestHfApiDeleteFiles", "TestHfApiListRepoTree", "TestHfApiTagEndpoint", "TestHfApiBranchEndpoint",
        "TestHfApiPublicStaging", "TestHfApiPrivate", "TestHfApiRepoFileExists", "TestHfApiDiscussions",
        "TestHfApiVerifyChecksums", "TestHfApiAuthCheck", "TestHfLargefiles", "TestLargeUpload",
        "TestListAndPermanentlyDeleteLFSFiles", "TestListGitCommits", "TestSquashHistory",
        "TestCommitInBackground", "TestHfApiDuplicateSpace",
    ),
    "test_hf_file_system.py": (
        "TestHfFileSystemRepositoryRO", "TestHfFileSystemRepositoryRW", "test_exists_after_repo_deletion",
        "test_stream_file_open_if_not_found",
    ),
    "test_xet_upload.py": ("TestXetUpload", "TestXetE2E", "TestXetLargeUpload"),
    "test_file_download.py": (
        "TestStagingDownload", "TestStagingCachedDownloadOnAwfulFilenames", "TestHfHubDownloadRelativePaths",
        "TestHfHubDownloadToLocalDir",
    ),
    "test_snapshot_download.py": ("TestSnapshotDownload", "TestResolveRevision"),
    "test_upload_pipeline.py": ("TestUploadPipeline",),
    "test_commit_scheduler.py": ("TestCommitScheduler",),
    "test_copy_files.py": (
        "TestCommitOperationCopy", "test_commit_copy_file", "test_copy_files_repo_to_repo",
    ),
}  # fmt: skip


def main() -> int:
    arguments = _arguments()
    with _empty_hub() as upstream, _gateway(arguments.moongate, upstream, arguments.log) as (url, told):
        found = _run(arguments, url, told)
    return _report(found, arguments.at_least)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run huggingface_hub's own tests against a gateway.")
    parser.add_argument("checkout", type=Path, help="A checkout of huggingface_hub.")
    parser.add_argument("--python", type=Path, required=True, help="An environment that can run its tests.")
    parser.add_argument("--moongate", type=Path, default=ROOT / ".venv/bin/moongate")
    parser.add_argument("--only", default="", help="Only tests whose class or name fits this (pytest's -k).")
    parser.add_argument("--at-least", type=int, default=0, help="How many must pass.")
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir()) / "hub_client_tests.log")
    return parser.parse_args()


class _EmptyHub(http.server.BaseHTTPRequestHandler):
    """An upstream that has no repository at all."""

    def _absent(self) -> None:
        body = b'{"error":"Repository not found"}'
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _absent  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextmanager
def _empty_hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _EmptyHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def _gateway(moongate: Path, upstream: str, log: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A gateway that lets everybody in and knows the tests' users; its address, and their constants."""
    with tempfile.TemporaryDirectory(prefix="hub-client-tests-") as folder, log.open("w") as words:
        env = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
        env |= {"MOONGATE_HOME": f"{folder}/home", "MOONGATE_HOSTED_NAMESPACES": ",".join(NAMESPACES)}
        env |= {"MOONGATE_XET": "true", "MOONGATE_UPSTREAM": upstream}
        # Three of the tests push files that are not what their names say, which the guard would hold.
        env |= {"MOONGATE_GUARD": "observe"}
        # A closed address that lets strangers in: they read what is public, and may do nothing else.
        command = [moongate, "serve", "--host", "0.0.0.0", "--port", "0", "--allow-anonymous"]
        process = subprocess.Popen(
            list(map(str, command)), env=env, stdout=subprocess.PIPE, stderr=words, text=True
        )
        try:
            url = _address(process, log)
            privately = [moongate, "namespace", "set", NAMESPACES[-1], "--private"]
            subprocess.run(list(map(str, privately)), env=env, check=True, capture_output=True)
            told = {name: _token(moongate, user, env) for name, user in TOKENS.items()}
            yield url, told | USERS | {"FULL_NAME": USERS["USER"], "ENTERPRISE_ORG": NAMESPACES[-1]}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        port = re.search(r"HF_ENDPOINT=\S*:(\d+)", line)
        if port:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return f"http://127.0.0.1:{port[1]}"
    raise SystemExit(f"the gateway did not start; see {log}")


def _token(moongate: Path, user: str, env: dict[str, str]) -> str:
    command = [moongate, "token", "create", "--user", user, "--scope", "write", "--json"]
    made = subprocess.run(list(map(str, command)), env=env, check=True, capture_output=True, text=True)
    return str(json.loads(made.stdout)["token"])


def _run(arguments: argparse.Namespace, url: str, told: dict[str, str]) -> ET.Element:
    with tempfile.TemporaryDirectory(prefix="hub-client-tests-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            arguments.python.absolute(), "-m", "pytest", "-q", "-p", "hub_client_tests", "-p", "no:env",
            "-p", "no:cacheprovider", "-o", "addopts=-Werror::FutureWarning --strict-markers",
            "-m", "not production", "--timeout", "300", "--tb", "short", f"--junit-xml={report}",
        ]  # fmt: skip
        if arguments.only:
            command += ["-k", arguments.only]
        wanted = list(_wanted(arguments.checkout))
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        env |= {
            "HF_ENDPOINT": url,
            "HF_HOME": folder,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT / "scripts"),
            TOLD: json.dumps(told | {"ENDPOINT_STAGING": url}),
        }
        subprocess.run([*map(str, command), *wanted], cwd=arguments.checkout, env=env, check=False)
        if not report.is_file():
            raise SystemExit("the tests did not run")
        return ET.parse(report).getroot()


def _wanted(checkout: Path) -> Iterator[str]:
    """The tests of the selection that this version of the client has."""
    for module, names in SELECTION.items():
        path = checkout / "tests" / module
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for name in names:
            if re.search(rf"^(class|def) {name}\b", text, re.MULTILINE):
                yield f"tests/{module}::{name}"


def _report(found: ET.Element, at_least: int) -> int:
    """What came of those tests that spoke to the gateway, or would have."""
    counts: Counter[str] = Counter()
    for case in found.iter("testcase"):
        if case.find(f"properties/property[@name='{SPOKE}']") is None and case.find("skipped") is None:
            continue
        outcome = next(
            (child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed"
        )
        counts[outcome] += 1
        if outcome != "passed":
            detail = next(child for child in case if child.tag == outcome)
            name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
            print(f"{outcome}: {name}: {(detail.get('message') or '').splitlines()[:1]}")
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    return 0 if counts["passed"] >= at_least else 1


def _put_constants_in_place() -> None:
    """As a plugin, before any test module is imported: our values for theirs."""
    sys.path.insert(0, str(Path.cwd()))
    from tests import testing_constants  # noqa: PLC0415 - theirs, in the folder where they run

    for name, value in json.loads(os.environ[TOLD]).items():
        setattr(testing_constants, name, value)
    testing_constants.ENDPOINT_PRODUCTION = testing_constants.ENDPOINT_STAGING


def _note_who_speaks() -> None:
    """As a plugin: from now on, `spoken` counts the requests of this process."""
    import httpx  # noqa: PLC0415 - of the environment that runs the tests

    send = httpx.HTTPTransport.handle_request

    def counted(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        spoken.append(str(request.url))
        return send(self, request)

    httpx.HTTPTransport.handle_request = counted  # type: ignore[method-assign]


spoken: list[str] = []


def pytest_runtest_setup(item: Any) -> None:
    """As a plugin: a new test begins."""
    spoken.clear()


def pytest_runtest_teardown(item: Any) -> None:
    """As a plugin: write down whether the test spoke to the gateway."""
    if spoken:
        item.user_properties.append((SPOKE, str(len(spoken))))


if os.environ.get(TOLD):
    _put_constants_in_place()
    _note_who_speaks()

if __name__ == "__main__":
    sys.exit(main())
