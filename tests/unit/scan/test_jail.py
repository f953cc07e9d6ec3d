"""Whatever happens to the scanner, a report comes back, and the process may do nothing but look."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from moongate.scan.jail import Jail, Limits
from support.pickled import EVIL


def test_it_judges_many_files_in_one_process(tmp_path: Path) -> None:
    with Jail() as jail:
        for number in range(5):
            path = tmp_path / str(number)
            path.write_bytes(EVIL)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                report = jail.judge(descriptor, path.name)
            finally:
                os.close(descriptor)
            assert report.verdict == "dangerous"
            assert report.read_bytes > 0
        assert jail.confined


def test_a_scanner_that_hangs_is_a_verdict(tmp_path: Path) -> None:
    path = tmp_path / "slow"
    path.write_bytes(b"\x80\x04" + b"]0" * 5_000_000 + b"N.")
    descriptor = os.open(path, os.O_RDONLY)
    with Jail(Limits(seconds=0.2)) as jail:
        assert jail.judge(descriptor, "slow").verdict == "failed"
        small = tmp_path / "small"
        small.write_bytes(EVIL)
        other = os.open(small, os.O_RDONLY)
        jail._limits = Limits()
        assert jail.judge(other, "small").verdict == "dangerous"
        os.close(other)
    os.close(descriptor)


def test_a_scanner_without_memory_is_a_verdict(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"\x80\x04" + b"]" * 4_000_000 + b".")
    descriptor = os.open(path, os.O_RDONLY)
    with Jail(Limits(memory_bytes=100 << 20)) as jail:
        assert jail.judge(descriptor, "large").verdict == "failed"
    os.close(descriptor)


def test_the_process_may_not_connect_write_or_start_anything(tmp_path: Path) -> None:
    script = f"""
        import os, socket, subprocess, errno
        from moongate.scan.confine import confine
        target = {str(tmp_path / "written")!r}
        assert confine(512 << 20)
        def refused(what):
            try:
                what()
            except OSError as error:
                return error.errno == errno.EPERM
            return False
        assert refused(lambda: socket.socket())
        assert refused(lambda: open(target, "wb"))
        assert refused(lambda: os.execv("/bin/true", ["true"]))
        assert refused(os.fork)
        assert refused(lambda: os.unlink("/tmp/x"))
        assert open("/dev/null").read() == ""
        os._exit(7)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True)
    assert done.returncode == 7, done.stderr
    assert not (tmp_path / "written").exists()


def test_it_can_be_closed_twice() -> None:
    jail = Jail()
    jail.close()
    jail.close()


def test_names_that_are_no_text_hide_nothing() -> None:
    half = b"\x8c\x03\xed\xa0\x80"
    data = b"\x80\x04" + half + b"\x8c\x01x\x930" + EVIL[2:]
    descriptor = os.memfd_create("sample")
    os.write(descriptor, data)
    with Jail() as jail:
        assert jail.judge(descriptor, os.fsdecode(b"\xff.pkl")).verdict == "dangerous"
    os.close(descriptor)


def test_a_report_that_finds_no_memory_is_a_verdict() -> None:
    """orjson dies where Python's own writer raises an error."""
    script = """
        import json, resource
        from moongate.core.verdicts import Finding, Report, Severity
        from moongate.scan.worker import _told
        findings = tuple(Finding("virus", Severity.HIGH, "x" * 400, "y" * 200, "z") for _ in range(40000))
        report = Report("dangerous", findings, (), 0, 0, "e", "r")
        lines = open("/proc/self/status").read().splitlines()
        used = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 20),) * 2)
        print(json.loads(_told(report))["verdict"])
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True, text=True
    )
    assert (told.returncode, told.stdout.strip()) == (0, "failed"), told.stderr
