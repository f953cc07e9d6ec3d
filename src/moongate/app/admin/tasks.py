"""The admin API's operations that take a while: pulls and verifications, as jobs that can be looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from moongate.app.admin import models
from moongate.app.admin.jobs import JobBoard, Progress
from moongate.app.admin.models import Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.core.errors import MoongateError, StoreError
from moongate.core.names import parse_repo, parse_revision
from moongate.core.records import FileEntry
from moongate.hub.pull import PullPlan

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


def task_operations(gateway: Gateway, jobs: JobBoard) -> tuple[Operation, ...]:
    """The operations. jobs: where what was begun is told."""
    admin, job = _AdminTasks(gateway, jobs), models.Job
    return needing(
        "admin",
        Operation("POST", "/pulls", "Start a pull", admin.pull, job, models.NewPull,
                  status=202, audited="content.pull"),
        Operation("POST", "/verifications", "Hash again", admin.rehash, job, models.NewVerify,
                  status=202, audited="content.verify"),
        Operation("GET", "/jobs", "Pulls and verifications", admin.jobs, models.Jobs),
        Operation("GET", "/jobs/{id}", "One of them", admin.job, job),
        Operation("DELETE", "/jobs/{id}", "Ask it to end", admin.cancel, job),
    )  # fmt: skip


class _AdminTasks:
    def __init__(self, gateway: Gateway, jobs: JobBoard) -> None:
        self._gateway = gateway
        self._jobs = jobs

    async def pull(self, asked: Asked) -> Model:
        wanted: models.NewPull = asked.body
        repo, revision = parse_repo(wanted.repo), parse_revision(wanted.revision)

        async def work(progress: Progress) -> None:
            puller, caller = self._gateway.puller, self._gateway.operator
            plan = await puller.plan(repo, revision, caller, wanted.include, wanted.exclude)
            report = await puller.pull(plan, caller, _PullTeller(progress))
            if report.failed:
                entry, error = report.failed[0]
                raise StoreError(f"{len(report.failed)} files failed; {entry.path}: {error.message}")

        return self._jobs.start("pull", f"{repo}@{revision}", work)

    async def rehash(self, asked: Asked) -> Model:
        before = asked.body.verified_before

        async def work(progress: Progress) -> None:
            await asyncio.to_thread(self._verify_now, progress, float("inf") if before is None else before)

        return self._jobs.start("verify", "everything", work)

    def _verify_now(self, progress: Progress, before: float) -> None:
        job = progress.job

        def hashed(count: int) -> None:
            job.done_bytes += count
            progress.tell()

        verdicts = self._gateway.keeping.verify(verified_before=before, progress=hashed)
        for checked in verdicts:
            job.done_files += 1
            if checked.outcome == "wrong":
                job.wrong.append(checked.etag)
            if progress.cancelled:
                return
        job.why = f"{len(job.wrong)} wrong" if job.wrong else ""

    async def jobs(self, _: Asked) -> Model:
        return models.Jobs(jobs=await asyncio.to_thread(self._jobs.jobs))

    async def job(self, asked: Asked) -> Model:
        return await asyncio.to_thread(self._jobs.job, asked.part)

    async def cancel(self, asked: Asked) -> Model:
        return self._jobs.cancel(asked.part)


class _PullTeller:
    """Tells a pull's progress on the job board."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._job = progress.job

    def planned(self, plan: PullPlan) -> None:
        self._job.total_files = len({entry.etag for entry in plan.files})
        self._job.total_bytes = plan.size_bytes
        self._progress.tell()

    def started(self, entry: FileEntry) -> None:
        self._progress.tell()

    def advanced(self, entry: FileEntry, size_bytes: int) -> None:
        self._job.done_bytes += size_bytes
        self._progress.tell()

    def finished(self, entry: FileEntry, fetched: bool) -> None:
        self._job.done_files += 1
        self._progress.tell()

    def failed(self, entry: FileEntry, error: MoongateError) -> None:
        self._job.why = f"{entry.path}: {error.message}"
