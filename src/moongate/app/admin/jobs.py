"""Jobs of the admin API: work that outlives its request, told by files that every worker can read.

    home/jobs/<id>.json      a job as last told; written and renamed in one go
    home/jobs/<id>.cancel    somebody wants it to end

A job whose process died is told as failed once its file is older than `_SILENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from moongate.app.admin.models import Job
from moongate.core.errors import Absent, BadName, MoongateError

_TOLD_EVERY_SECONDS = 0.5
_BEAT_SECONDS = 5.0
_SILENCE_SECONDS = 30.0
_KEPT_SECONDS = 7 * 86400.0


class Progress:
    """A running job's own view: counts to raise, and whether to stop. Fit for any thread."""

    def __init__(self, board: JobBoard, job: Job) -> None:
        self.job = job
        self._board = board
        self._told_at = 0.0

    @property
    def cancelled(self) -> bool:
        return self._board.cancel_file(self.job.id).exists()

    def tell(self, *, now: bool = False) -> None:
        """Writes the job down, at most twice a second unless `now`."""
        moment = time.time()
        if now or moment - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = self.job.updated_at = moment
            self._board.write(self.job)


Work = Callable[[Progress], Awaitable[None]]


class JobBoard:
    """The jobs of a home; those started here run on this loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, kind: Literal["pull", "verify"], subject: str, work: Work) -> Job:
        """Begins some work; what is known of it from now on is on the board."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_old()
        now = time.time()
        job = Job(
            id=secrets.token_hex(8),
            kind=kind,
            subject=subject,
            state="running",
            started_at=now,
            updated_at=now,
        )
        self.write(job)
        task = asyncio.get_running_loop().create_task(self._run(Progress(self, job), work))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))
        return job.model_copy()

    def jobs(self) -> list[Job]:
        """Every job on the board, the latest first."""
        found = [self._read(path) for path in self._folder.glob("*.json")]
        return sorted((job for job in found if job is not None), key=lambda job: -job.started_at)

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            Absent: there is none of that id.
        """
        job = self._read(self._file(job_id))
        if job is None:
            raise Absent("there is no such job")
        return job

    def cancel(self, job_id: str) -> Job:
        """Asks a job to end, wherever it runs."""
        job = self.job(job_id)
        if job.state == "running":
            self.cancel_file(job_id).touch(mode=0o600)
            task = self._running.get(job_id)
            if task is not None:
                task.cancel()
        return job

    async def close(self) -> None:
        """Ends the jobs that run here; they are told as cancelled."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def write(self, job: Job) -> None:
        path = self._file(job.id)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(job.model_dump_json().encode())
        temporary.replace(path)

    def cancel_file(self, job_id: str) -> Path:
        return self._file(job_id).with_suffix(".cancel")

    async def _run(self, progress: Progress, work: Work) -> None:
        job = progress.job
        beat = asyncio.get_running_loop().create_task(self._beat(progress))
        try:
            await work(progress)
            job.state = "cancelled" if progress.cancelled else "done"
        except asyncio.CancelledError:
            job.state = "cancelled"
        except MoongateError as error:
            job.state, job.why = "failed", error.message
        except BaseException:
            job.state, job.why = "failed", "something broke inside the gateway; its log tells more"
            raise
        finally:
            beat.cancel()
            progress.tell(now=True)
            self.cancel_file(job.id).unlink(missing_ok=True)

    async def _beat(self, progress: Progress) -> None:
        """Shows that the job lives, and hears what other workers were asked."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            progress.tell(now=True)
            task = self._running.get(progress.job.id)
            if task is not None and progress.cancelled:
                task.cancel()

    def _file(self, job_id: str) -> Path:
        if not job_id.isalnum() or len(job_id) > 32:
            raise BadName("not a job's id")
        return self._folder / f"{job_id}.json"

    def _read(self, path: Path) -> Job | None:
        try:
            job = Job.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        if job.state == "running" and time.time() - job.updated_at > _SILENCE_SECONDS:
            job.state, job.why = "failed", "the process that ran it is gone"
        return job

    def _forget_old(self) -> None:
        for path in self._folder.glob("*.json"):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink(missing_ok=True)
