"""What judging costs a pull: a clean safetensors file with the guard on, beside the guard off; and a refusal.

Targets: at most 1.03 times the CPU and the time, cold and warm; a torch archive of 5 GiB that runs code is
refused after at most 1 MB was asked of upstream, within a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.error import HTTPError
from urllib.request import urlopen

from bench.clients import transfer
from bench.gateway import Gateway
from bench.hub import HubFile
from bench.plan import GIB, MIB
from bench.processes import CannotRun
from bench.rounds import Reading, alternate
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage

NAME = "guard"
_ON, _OFF = "enforce", "off"
_COST = Target("at most", 1.03)
_MEMBERS = 5
_MANY = 40
_TURNS = 12
_SETTLED_SECONDS = 1.5
_QUIET_SECONDS = 5.5
_EVIL = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."


def measure(stage: Stage) -> Section:
    """CPU and time of the same files, guarded and not; then what a refusal needs."""
    plan = stage.plan
    section = Section(
        NAME,
        "Judging in the path",
        f"A safetensors file of {plan.limited_bytes / GIB:g} GiB from an nginx upstream, read by one client: "
        f"cold through an empty gateway; from what both keep, the medians of {_TURNS} reads in turns, "
        f"{plan.passes} times over each; and {_MANY} cold ones of 2 MiB, where what judging a file costs "
        "shows better. CPU is the gateway's and its scanners', who have started. Then a torch archive of "
        f"{_MEMBERS} GiB whose pickle runs code, from asking until the refusal.",
    )
    large = _safetensors(stage, "bench/tensors", plan.limited_bytes)
    many = [_safetensors(stage, f"bench/tensors-{number}", 2 * MIB, number + 1) for number in range(_MANY)]
    readings: dict[str, dict[str, list[Reading]]] = {"cold": {}, "many": {}}

    def pulled(mode: str) -> Reading:
        with _guarded(stage, mode, _QUIET_SECONDS) as served:
            found = {"cold": _read(stage, served, large), "many": _one_by_one(served, many)}
        for what, reading in found.items():
            readings[what].setdefault(mode, []).append(reading)
        return found["cold"]

    with stage.nginx_as_cdn():
        alternate(plan.rounds, {mode: partial(_told, pulled, mode) for mode in (_ON, _OFF)}, stage.settle)
        readings["warm"] = _kept(stage, large)
    for what in ("cold", "warm"):
        section.compare(f"{what}: CPU", "s/GB", "cpu_per_gb", readings[what], _ON, _OFF, _COST)
        section.compare(f"{what}: time", "s", "seconds", readings[what], _ON, _OFF, _COST)
    section.compare("each of many: CPU", "ms", "cpu", readings["many"], _ON, _OFF)
    section.compare("each of many: time", "ms", "seconds", readings["many"], _ON, _OFF)
    _add_refusals(stage, section)
    return section


def _told(measure: Callable[..., Reading], *given: object) -> Reading:
    """What `alternate` calls: whatever it tells of the round, the last of what is given, is of no use."""
    return measure(*given[:-1])


def _kept(stage: Stage, file: HubFile) -> dict[str, list[Reading]]:
    """What reads of a kept file take, a gateway of each mode beside the other; the median of each round.

    One pass takes tenths of a second, in which a machine may do anything: so there are many, in turns.
    """
    readings: dict[str, list[Reading]] = {_ON: [], _OFF: []}
    for _ in range(stage.plan.rounds):
        with _guarded(stage, _ON, _QUIET_SECONDS) as on, _guarded(stage, _OFF, _QUIET_SECONDS) as off:
            both = {_ON: on, _OFF: off}
            for served in both.values():
                _read(stage, served, file)
            stage.settle()
            turns = alternate(
                _TURNS,
                {
                    mode: partial(_told, partial(_read, stage, served, file, stage.plan.passes))
                    for mode, served in both.items()
                },
            )
        for mode, found in turns.items():
            readings[mode].append({key: median(one[key] for one in found) for key in found[0]})
    return readings


def _read(stage: Stage, served: Gateway, file: HubFile, times: int = 1) -> Reading:
    cpus = stage.plan.client_cpus
    return transfer(served.program, "whole", path=file.url_path, port=served.port, cpus=cpus, times=times)


def _one_by_one(served: Gateway, files: Sequence[HubFile]) -> Reading:
    """Milliseconds for each file."""
    connection = HTTPConnection("127.0.0.1", served.port)
    before, began = served.program.cpu_seconds(), time.monotonic()
    for file in files:
        connection.request("GET", file.url_path)
        answer = connection.getresponse()
        if answer.status != 200 or len(answer.read()) != file.size_bytes:
            raise CannotRun(f"the gateway answered {answer.status} to a clean file")
    seconds, spent = time.monotonic() - began, served.program.cpu_seconds() - before
    connection.close()
    return {"cpu": spent * 1000 / len(files), "seconds": seconds * 1000 / len(files)}


@contextmanager
def _guarded(stage: Stage, mode: str, seconds: float) -> Iterator[Gateway]:
    """A gateway that did so long ago what it does once: start its scanner, look for work to catch up on."""
    with stage.fresh(settings={"MOONGATE_GUARD": mode}) as served:
        time.sleep(seconds)
        yield served


def _add_refusals(stage: Stage, section: Section) -> None:
    path = stage.files / "evil.pt"
    _torch(path)
    sha256 = hashlib.sha256(str(path.stat().st_size).encode()).hexdigest()  # it is never fetched whole
    rounds = []
    for turn in range(stage.plan.rounds):
        name = f"bench/evil-{turn}"
        commit = stage.hub.add(name, {"pytorch_model.bin": {"at": str(path), "sha256": sha256}})
        file = HubFile(name, commit, "pytorch_model.bin", sha256, path.stat().st_size, path)
        rounds.append(_refused(stage, file))
    path.unlink()
    for place, (what, unit, target) in enumerate(
        (
            ("time", "s", Target("at most", 1.0, "value")),
            ("CPU", "s", None),
            ("sent by upstream", "kB", Target("at most", 1000.0, "value")),
        )
    ):
        values = Samples(tuple(figures[place] for figures in rounds))
        section.rows.append(Row(f"refusing {_MEMBERS} GiB: {what}", unit, values, target=target))


def _refused(stage: Stage, file: HubFile) -> tuple[float, float, float]:
    with _guarded(stage, _ON, _SETTLED_SECONDS) as served:
        before, sent = served.program.cpu_seconds(), stage.hub.sent_bytes(file.sha256)
        began = time.monotonic()
        status = _status(f"{served.url}{file.url_path}")
        seconds = time.monotonic() - began
        if status != 403:
            raise CannotRun(f"the gateway answered {status} where it had to refuse")
        spent = served.program.cpu_seconds() - before
        return seconds, spent, (stage.hub.sent_bytes(file.sha256) - sent) / 1000


def _status(url: str) -> int:
    try:
        with urlopen(url) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _safetensors(stage: Stage, repo: str, size_bytes: int, seed: int = 0) -> HubFile:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}})
    made, hasher = stage.files / "making-safetensors", hashlib.sha256()
    noise = random.Random(seed).randbytes(MIB)
    with made.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header.encode())
        for number in range(size_bytes // MIB):
            out.write(struct.pack("<Q", number) + noise[8:])
    with made.open("rb") as whole:
        while data := whole.read(MIB):
            hasher.update(data)
    sha256 = hasher.hexdigest()
    at = made.rename(stage.files / sha256)
    commit = stage.hub.add(repo, {"model.safetensors": {"at": str(at), "sha256": sha256}})
    return HubFile(repo, commit, "model.safetensors", sha256, at.stat().st_size, at)


def _torch(path: Path) -> None:
    """An archive as torch writes it, its tensors holes in the file."""
    checksum = 0
    zeros = bytes(MIB)
    for _ in range(GIB // MIB):
        checksum = zlib.crc32(zeros, checksum)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", _EVIL)
        out = archive.fp
        assert out is not None
        for number in range(_MEMBERS):
            member = zipfile.ZipInfo(f"archive/data/{number}")
            member.file_size = member.compress_size = GIB
            member.CRC, member.header_offset = checksum, out.tell()
            out.write(member.FileHeader(zip64=False))
            out.seek(GIB, os.SEEK_CUR)
            archive.filelist.append(member)
        archive.start_dir = out.tell()
        archive.writestr("archive/version", b"3\n")
