"""Real Xet clients through the gateway: what they get, what it costs upstream, that they never go past us.

Clients are hf_xet under four generations of huggingface_hub, and huggingface.js. Nobody but the gateway may
ask the Hub double anything: its meters know who asked.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import Cut, FlipByte, HangUp, HubDouble, LfsFile, LieAboutTerms, Match, Status
from support.clients import run_client, run_script
from support.gateway import Gateway
from support.raw import ask

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

MIB = 1 << 20
VERSIONS = ("hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36")
NAME = "model.safetensors"
BASE = random.Random(1).randbytes(12 * MIB + 5)
CHANGED = MIB
TUNED = BASE[: 5 * MIB] + random.Random(2).randbytes(CHANGED) + BASE[5 * MIB + CHANGED :]
PIECES = b"".join(BASE[n * MIB : n * MIB + 700_000] + b"%d" % n * 200_000 for n in range(6))
CONTENTS = {"acme/base": BASE, "acme/tuned": TUNED, "acme/pieces": PIECES}
ADA = "hf_" + "Ada" * 12
QUICK = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms", "HF_XET_CLIENT_RETRY_MAX_DURATION": "20s"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_user("ada", ADA, grants=["acme/gated"])
    for repo_id, content in CONTENTS.items():
        double.add_repo(repo_id, xet=True).commit({NAME: LfsFile(content), "config.json": "{}"})
    double.add_repo("acme/gated", xet=True, gated="auto").commit({NAME: LfsFile(BASE[::-1])})
    double.repo("acme/pieces").pack()
    with double.running():
        yield double


@pytest.fixture
def gateway(hub: HubDouble, tmp_path: Path) -> Iterator[Gateway]:
    with started(hub, tmp_path) as running:
        yield running


def started(hub: HubDouble, tmp_path: Path, **env: str) -> Gateway:
    env = {"MOONGATE_XET": "true", **env}
    return Gateway(tmp_path / "home", hub.url, cdn=f"{hub.cdn_netloc},{hub.cas_netloc}", env=env)


def patched(hub: HubDouble, tmp_path: Path, patch: str) -> Gateway:
    """A gateway in whose process these lines ran first."""
    folder = tmp_path / "patch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(patch)
    return started(hub, tmp_path, PYTHONPATH=str(folder))


def get(
    client: Path, url: str, home: Path, *repos: str, files: list[tuple[str, str]] | None = None, **env: str
) -> dict[str, Any]:
    plan = {"get": list(repos), "files": files or []}
    return dict(run_script(client, "xet_round_trip.py", plan, home=home, endpoint=url, env={**QUICK, **env}))


def whole(*repos: str) -> dict[str, dict[str, str]]:
    return {repo: {"config.json": sha256(b"{}"), NAME: sha256(CONTENTS[repo])} for repo in repos}


def nobody_went_past_us(hub: HubDouble) -> None:
    strangers = [
        (record.origin, record.path, record.header("User-Agent"))
        for record in hub.meters.requests()
        if not (record.header("User-Agent") or "").startswith("moongate/")
    ]
    assert strangers == []


def requests(gateway: Gateway, pattern: str) -> list[str]:
    """Statuses of the answers to requests whose path begins so. Stops the gateway: then its log is whole."""
    if gateway.runs:
        gateway.stop()
    return re.findall(rf"(\d\d\d) \S* +(?:GET|HEAD|POST) {pattern}", gateway.log_path.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_snapshots_and_files(
    version: str, client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    client = client_python(version)
    files = [(repo, NAME) for repo in CONTENTS]
    told = get(client, gateway.url, tmp_path / "a", *CONTENTS, files=files)
    assert told == whole(*CONTENTS) | {f"{repo} {NAME}": sha256(data) for repo, data in CONTENTS.items()}
    nobody_went_past_us(hub)
    sent = hub.meters.bytes_sent(origin="cdn")
    assert sent < 1.1 * (len(BASE) + CHANGED + 1_200_000) + 14 * 128 * 1024, "chunks were fetched twice"
    with hub.away():
        assert get(client, gateway.url, tmp_path / "b", *CONTENTS) == whole(*CONTENTS)
    assert requests(gateway, "/cas/data/"), "it was read through Xet"
    assert not requests(gateway, rf"/acme/base/resolve/\S+/{NAME} 12"), "it was read plainly as well"
    assert "Traceback" not in gateway.log_path.read_text()


@pytest.mark.parametrize("version", ["hub-2.4", "hub-1.x"])
def test_the_command_line(
    version: str, client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    command = client_python(version).parent / "hf"
    folder = tmp_path / "got"
    words = [command, "download", "acme/tuned", "--local-dir", folder]
    run_client(words, home=tmp_path / "a", endpoint=gateway.url)
    assert (folder / NAME).read_bytes() == TUNED
    assert requests(gateway, "/cas/data/")
    nobody_went_past_us(hub)


def test_a_fine_tune_costs_what_changed(
    client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    client = client_python("hub-2.4")
    get(client, gateway.url, tmp_path / "a", "acme/base")
    before = hub.meters.bytes_sent(origin="cdn")
    get(client, gateway.url, tmp_path / "a", "acme/tuned")
    assert CHANGED <= hub.meters.bytes_sent(origin="cdn") - before <= 1.1 * CHANGED + 2 * 128 * 1024


def test_gated_files_for_whom_they_are(
    client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    plan = {
        "files": {"it": {"repo_id": "acme/gated", "filename": NAME}},
        "snapshots": {"all": {"repo_id": "acme/gated"}},
    }
    client = client_python("hub-2.4")
    for turn in ("cold", "warm"):
        let_in = run_script(
            client, "hub_files.py", plan | {"token": ADA}, home=tmp_path / turn, endpoint=gateway.url
        )
        assert let_in["it"]["gave"]["sha256"] == let_in["all"]["gave"][NAME] == sha256(BASE[::-1])
        refused = run_script(
            client, "hub_files.py", plan, home=tmp_path / f"{turn} nobody", endpoint=gateway.url
        )
        assert {told["raised"] for told in refused.values()} == {"GatedRepoError"}
    nobody_went_past_us(hub)


EXPIRED_AT_FIRST = """
from moongate.app import data_addresses
real = data_addresses.DataAddresses.fetches
seen = set()
def fetches(self, file, terms, base_url, **more):
    if file.file_id in seen:
        self._ttl_seconds = 3600.0
    else:
        self._ttl_seconds = -10.0
        seen.add(file.file_id)
    return real(self, file, terms, base_url, **more)
data_addresses.DataAddresses.fetches = fetches
"""


@pytest.mark.parametrize("version", ["hub-2.4", "hub-0.36"])
def test_expired_addresses_heal(
    version: str, client_python: Callable[[str], Path], hub: HubDouble, tmp_path: Path
) -> None:
    """The first addresses of every file have expired already; the client asks for others."""
    with patched(hub, tmp_path, EXPIRED_AT_FIRST) as running:
        told = get(client_python(version), running.url, tmp_path / "a", "acme/base", "acme/pieces")
        assert told == whole("acme/base", "acme/pieces")
        statuses = requests(running, "/cas/data/")
        assert "403" in statuses
        assert "206" in statuses
    nobody_went_past_us(hub)


@pytest.mark.parametrize("version", ["hub-2.4", "hub-0.36"])
def test_tokens_are_refreshed(
    version: str, client_python: Callable[[str], Path], hub: HubDouble, tmp_path: Path
) -> None:
    """Tokens end within the margin in which clients ask for the next one: for each of them, by JSON."""
    patch = "from moongate.app import xet_tokens\nxet_tokens.TTL_SECONDS = 20.0\n"
    with patched(hub, tmp_path, patch) as running:
        told = get(client_python(version), running.url, tmp_path / "a", "acme/base", "acme/tuned")
        assert told == whole("acme/base", "acme/tuned")
        assert len(requests(running, "/api/models/acme/base/xet-read-token/")) > 1, "it was not refreshed"
    nobody_went_past_us(hub)


def test_version_1_and_several_ranges_at_once(
    client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    client = client_python("hub-2.4")
    for name, env in (
        ("one", {"HF_XET_CLIENT_RECONSTRUCTION_API_VERSION": "1"}),
        ("many", {"HF_XET_CLIENT_ENABLE_MULTIRANGE_FETCHING": "true"}),
    ):
        told = get(client, gateway.url, tmp_path / name, "acme/base", "acme/pieces", **env)
        assert told == whole("acme/base", "acme/pieces")
    assert requests(gateway, "/cas/v1/reconstructions/")
    assert requests(gateway, "/cas/v2/reconstructions/")


def test_upstream_of_version_1(
    client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    with hub.failing(Status(404, match=Match(origin="cas", path="/v2/*"))):
        assert get(client_python("hub-2.4"), gateway.url, tmp_path / "a", "acme/pieces") == whole(
            "acme/pieces"
        )


def test_javascript(
    hub_js: Path, program: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    files = [[repo, NAME] for repo in CONTENTS]
    plan = {"modules": str(hub_js), "get": files}
    get_base = {f"{repo} {NAME}": ["XetBlob", sha256(data)] for repo, data in CONTENTS.items()}
    parts = {f"{repo} {NAME} part": sha256(data[1_000_000:1_300_000]) for repo, data in CONTENTS.items()}
    for turn in ("cold", "warm"):
        told = run_script(
            program("node"), "xet_round_trip.mjs", plan, home=tmp_path / turn, endpoint=gateway.url
        )
        assert told == get_base | parts
    nobody_went_past_us(hub)
    with hub.away():
        told = run_script(
            program("node"), "xet_round_trip.mjs", plan, home=tmp_path / "x", endpoint=gateway.url
        )
        assert told == get_base | parts


def test_javascript_heals(
    hub_js: Path, program: Callable[[str], Path], hub: HubDouble, tmp_path: Path
) -> None:
    plan = {"modules": str(hub_js), "get": [["acme/pieces", NAME]]}
    with patched(hub, tmp_path, EXPIRED_AT_FIRST) as running:
        told = run_script(
            program("node"), "xet_round_trip.mjs", plan, home=tmp_path / "a", endpoint=running.url
        )
        assert told[f"acme/pieces {NAME}"] == ["XetBlob", sha256(PIECES)]
        assert {"403", "206"} <= set(requests(running, "/cas/data/"))


@pytest.mark.parametrize("version", ["hub-2.4", "hub-0.36"])
def test_wrong_bytes_reach_nobody(
    version: str, client_python: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    """A file with a flipped byte never arrives; when the fault is gone the same client gets it right."""
    client = client_python(version)
    words = [client, "-c", f"import huggingface_hub as h; h.hf_hub_download('acme/base', {NAME!r})"]
    env = QUICK | {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_RETRY_MAX_DURATION": "3s"}
    with hub.failing(FlipByte(70_000, match=Match(origin="cdn", path="/xorbs/*"))):
        done = run_client(words, home=tmp_path / "a", endpoint=gateway.url, env=env, check=False)
    got = [path for path in (tmp_path / "a").rglob(NAME) if path.is_file()]
    assert all(sha256(path.read_bytes()) == sha256(BASE) for path in got)
    assert done.returncode != 0 or got
    assert get(client, gateway.url, tmp_path / "b", "acme/base") == whole("acme/base")
    assert "moongate_xet_fills_failed_total{" in ask(gateway.url, "/metrics").body.decode()


@pytest.mark.slow
def test_libraries_never_go_past_us(
    client_python: Callable[[str], Path], minilm: Path, hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    """transformers and datasets read their large files through Xet, and with upstream gone as well."""
    ml = client_python("ml")
    weights = {path.name: path.read_bytes() for path in minilm.iterdir() if path.is_file()}
    files = {name: LfsFile(data) if len(data) > MIB else data for name, data in weights.items()}
    hub.add_repo("acme/minilm", xet=True).commit(files)
    tables = tmp_path / "tables"
    tables.mkdir()
    names = run_script(ml, "make_tables.py", {"folder": str(tables)}, home=tables, endpoint=gateway.url)
    rows = {f"data/{name}": LfsFile((tables / name).read_bytes()) for name in names}
    hub.add_repo("acme/tables", "dataset", xet=True).commit(rows)
    embed = {"model": "acme/minilm", "sentences": ["The moon has a gate."]}
    load = {
        "load": {"whole": {"path": "acme/tables"}},
        "stream": {"streamed": {"path": "acme/tables", "split": "train"}},
    }

    def use(home: Path) -> tuple[Any, Any]:
        vectors = run_script(ml, "transformers_embed.py", embed, home=home, endpoint=gateway.url)["vectors"]
        told = run_script(ml, "datasets_load.py", load, home=home, endpoint=gateway.url)
        return vectors, {name: answer["gave"] for name, answer in told.items()}

    cold = use(tmp_path / "cold")
    assert cold[1]["whole"]["train"]["rows"] == cold[1]["streamed"]["rows"] == 6000
    nobody_went_past_us(hub)
    with hub.away():
        assert use(tmp_path / "warm") == cold
    assert requests(gateway, "/cas/data/")
    assert not requests(gateway, r"/acme/minilm/resolve/\S+/model.safetensors [1-9]"), "it was read plainly"


XORBS = Match(origin="cdn", path="/xorbs/*")
LOST = {
    "no token": (Status(500, match=Match(path="*/xet-read-token/*")),),
    "no reconstruction": (Status(503, match=Match(origin="cas")),),
    "unknown file": (Status(404, match=Match(origin="cas", path="/v?/reconstructions/*")),),
    "a lie": (LieAboutTerms("drop", match=Match(origin="cas")),),
    "no xorbs": (Status(500, match=XORBS),),
    "in mid-fill": (Cut(3 * MIB, match=XORBS, times=1), Status(403, match=XORBS, skip=1)),
    "in mid-fill for good": (
        Cut(3 * MIB, match=XORBS, times=1),
        HangUp(match=XORBS, skip=1),
        Status(500, match=Match(origin="cas"), skip=1),
    ),
}


@pytest.mark.parametrize(
    ("version", "lost"),
    [("hub-2.4", lost) for lost in LOST]
    + [("hub-1.0", "in mid-fill"), ("hub-0.36", "no reconstruction"), ("hub-0.36", "in mid-fill")],
)
def test_a_lost_cas_is_not_noticed(
    version: str, lost: str, client_python: Callable[[str], Path], hub: HubDouble, tmp_path: Path
) -> None:
    """What cannot be had through upstream's CAS comes by plain HTTP, and is still read through Xet."""
    client = client_python(version)
    with (
        started(hub, tmp_path) as running,
        hub.failing(*LOST[lost]),
    ):
        assert get(client, running.url, tmp_path / "a", "acme/base") == whole("acme/base")
        assert "moongate_xet_made_total{" in ask(running.url, "/metrics").body.decode()
        statuses = requests(running, "/cas/")
        assert "206" in statuses
        assert not [status for status in statuses if status.startswith("5")]
        assert not requests(running, rf"/acme/base/resolve/\S+/{NAME} 12"), "it was read plainly"
    nobody_went_past_us(hub)


@pytest.mark.long
def test_a_file_of_many_pieces_survives_the_loss_of_its_cas(
    client_python: Callable[[str], Path], hub: HubDouble, tmp_path: Path
) -> None:
    """Also when a client asks for several ranges at once, and when chunks of others are here already."""
    client = client_python("hub-2.4")
    for name, env in (("one", {}), ("many", {"HF_XET_CLIENT_ENABLE_MULTIRANGE_FETCHING": "true"})):
        folder = tmp_path / name
        folder.mkdir()
        with started(hub, folder) as running:
            assert get(client, running.url, folder / "a", "acme/base", **env) == whole("acme/base")
            with hub.failing(Status(500, match=XORBS, skip=1)):
                told = get(client, running.url, folder / "b", "acme/pieces", "acme/tuned", **env)
                assert told == whole("acme/pieces", "acme/tuned")


def test_javascript_does_not_notice_a_lost_cas(
    hub_js: Path, program: Callable[[str], Path], hub: HubDouble, gateway: Gateway, tmp_path: Path
) -> None:
    plan = {"modules": str(hub_js), "get": [["acme/base", NAME]]}
    with hub.failing(Status(503, match=Match(origin="cas"))):
        told = run_script(
            program("node"), "xet_round_trip.mjs", plan, home=tmp_path / "a", endpoint=gateway.url
        )
    assert told[f"acme/base {NAME}"] == ["XetBlob", sha256(BASE)]


def test_setting_off(client_python: Callable[[str], Path], hub: HubDouble, tmp_path: Path) -> None:
    with started(hub, tmp_path, MOONGATE_XET="false") as running:
        assert get(client_python("hub-2.4"), running.url, tmp_path / "a", "acme/base") == whole("acme/base")
        assert requests(running, "/cas/") == []
    assert hub.meters.requests(origin="cas") == []
