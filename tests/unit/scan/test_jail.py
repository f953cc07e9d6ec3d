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
