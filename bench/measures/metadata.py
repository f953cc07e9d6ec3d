"""Small answers from cache: requests per second, 95th percentile and CPU, beside nginx with a static file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench import load
from bench.plan import Plan
from bench.processes import Program
from bench.reader import Connection
from bench.rounds import Reading, alternate
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import OURS, Stage

NAME = "metadata"
_SPEED = Target("at least", 0.4)
_LATE = Target("at most", 10.0, "value")


def measure(stage: Stage) -> Section:
    """Requests per second of an info answer by commit and by branch, and of HEAD on a file."""
    body = info_body(stage)
    section = Section(
        NAME,
        "Metadata from cache",
        f"{load.CONNECTIONS} connections from one thread (wrk for GET, our own client for HEAD). The info "
        f"answer has {len(body):,} bytes; beside it, in every row, wrk asks nginx for a static file of the "
        "same bytes.",
    )
    asked = {
        "info by commit": (load.get, info_path(stage)),
        "info by branch": (load.get, f"/api/models/{stage.hot.repo}"),
        "HEAD of a file by commit": (load.head, stage.hot.url_path),
        "HEAD of a file by branch": (load.head, stage.hot.branch_path),
    }
    for what, (loader, path) in asked.items():
        rounds = alternate(
            stage.plan.rounds,
            {
                OURS: _turn(loader, stage, stage.warm.program, stage.warm.port, path),
                "nginx": _turn(load.get, stage, stage.static.program, stage.static.port, "/info.json"),
            },
        )
        section.compare(f"{what}: requests", "/s", "per_second", rounds, OURS, "nginx", _SPEED)
        section.compare(f"{what}: p95", "ms", "p95_ms", rounds, OURS, "nginx", _LATE)
        section.compare(f"{what}: CPU", "µs", "cpu_us", rounds, OURS, "nginx")
    section.rows.append(_questions(stage))
    return section


def info_path(stage: Stage) -> str:
    """The info answer of the hot file's repository, by commit."""
    return f"/api/models/{stage.hot.repo}/revision/{stage.hot.commit}"


def info_body(stage: Stage) -> bytes:
    """What the gateway answers there; nginx gets the same bytes to serve at `/info.json`."""
    connection = Connection("127.0.0.1", stage.warm.port)
    body = connection.body(info_path(stage))
    connection.close()
    (stage.files / "info.json").write_bytes(body)
    return body


def _turn(
    loader: Callable[..., dict[str, float]], stage: Stage, server: Program, port: int, path: str
) -> Callable[[int], Reading]:
    plan: Plan = stage.plan
    ask = partial(
        loader, f"http://127.0.0.1:{port}{path}", plan.load_seconds, server, plan.client_cpus, stage.folder
    )
    return lambda _: ask()


def _questions(stage: Stage) -> Row:
    """How often upstream was asked for a pinned commit while it was served thousands of times."""
    asked = stage.hub.tell(do="asked", path="*")
    load.get(
        f"http://127.0.0.1:{stage.warm.port}{info_path(stage)}",
        1,
        stage.warm.program,
        stage.plan.client_cpus,
        stage.folder,
    )
    more = stage.hub.tell(do="asked", path="*")
    assert isinstance(asked, int)
    assert isinstance(more, int)
    return Row(
        "upstream requests while a pinned commit is asked for at full speed",
        "requests",
        Samples((float(more - asked),)),
        target=Target("exactly", 0, "value"),
    )
