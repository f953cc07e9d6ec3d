"""Work that a gateway does for us: started through its admin API, watched until it ends.

A Ctrl-C here asks the gateway to end the job, too; what it has done until then stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from moongate.cli.gateway import Gateway
from moongate.core.errors import MoongateError

_LOOK_EVERY_SECONDS = 0.5


def run_job(
    gateway: Gateway,
    path: str,
    wanted: Mapping[str, object],
    look: Callable[[Mapping[str, object]], None],
    *,
    every_seconds: float = _LOOK_EVERY_SECONDS,
) -> Mapping[str, object]:
    """Start a job, call `look` with what is known of it every so often, and return it when it is done.

    Raises:
        MoongateError: it failed or was cancelled, or the gateway says no.
        CommandFailed: the gateway is gone.
        KeyboardInterrupt: the user had enough; the gateway was asked to end the job.
    """
    job = gateway.ask("POST", path, wanted)
    where = f"/jobs/{job['id']}"
    try:
        while job["state"] == "running":
            time.sleep(every_seconds)
            job = gateway.ask("GET", where)
            look(job)
    except KeyboardInterrupt:
        gateway.ask("DELETE", where)
        raise
    if job["state"] != "done":
        why = str(job.get("why") or "no reason given")
        raise MoongateError(f"{job['kind']} of {job['subject']} {job['state']}: {why}")
    return job
