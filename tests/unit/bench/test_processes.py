from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.processes import CannotRun, Program, clean_environment, free_port, pinned, tree, watching_memory

BUSY = """
import os, sys, time
while time.process_time() < 0.2: pass
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BUSY!r}], check=True)
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""

GREEDY = """
import sys
sys.stdin.readline()
held = b"x" * (64 << 20)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(code: str, folder: Path) -> Iterator[Program]:
    program = Program("a program", [sys.executable, "-c", code], folder / "log", read_output=True)
    try:
        yield program
    finally:
        program.stop()


def test_cpu_counts_children_that_ended_and_the_tree_those_that_run(tmp_path: Path) -> None:
    with running(PARENT, tmp_path) as program:
        child = int(program.read_line(60.0))
        assert set(tree(program.pid)) == {program.pid, child}
        assert program.cpu_seconds() >= 0.2


def test_cpu_of_one_that_runs(tmp_path: Path) -> None:
    with running(BUSY + "print('done', flush=True)\nsys.stdin.read()", tmp_path) as program:
        program.read_line(60.0)
        spent = program.cpu_seconds()
        assert 0.2 <= spent < 60.0


def test_memory_is_that_of_the_greatest_moment(tmp_path: Path) -> None:
    with running(GREEDY, tmp_path) as program, watching_memory(program) as greatest:
        before = greatest()
        program.input.write("go\n")
        program.input.flush()
        program.read_line(60.0)
        while greatest() < before + (60 << 20):  # ends by the test's own timeout if it never shows
            os.sched_yield()


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    program = Program(
        "a program", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log"
    )
    with pytest.raises(CannotRun, match=r"a program ended with 1.*no such thing"):
        program.wait_for_port("127.0.0.1", free_port())
    program.stop()


def test_one_that_says_nothing(tmp_path: Path) -> None:
    with running("", tmp_path) as program, pytest.raises(CannotRun, match="a program said nothing"):
        program.read_line(60.0)


def test_a_stopped_program_may_be_stopped_again(tmp_path: Path) -> None:
    with running("import sys; sys.stdin.read()", tmp_path) as program:
        program.stop()
        program.stop()
    assert tree(program.pid) == [program.pid]
    assert program.cpu_seconds() == 0.0


def test_programs_see_no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOONGATE_PORT", "HF_ENDPOINT", "HTTPS_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "x")
    environment = clean_environment({"MOONGATE_HOME": "here"})
    assert {name for name in environment if name.startswith(("MOONGATE", "HF_"))} == {"MOONGATE_HOME"}
    assert not {name for name in environment if name.lower().endswith("_proxy")}
    assert environment["PATH"] == os.environ["PATH"]


def test_pinning_is_a_prefix_of_the_command() -> None:
    assert pinned({3, 1}) == ["taskset", "-c", "1,3"]
    assert pinned(None) == []


def test_waiting_for_the_end_tells_a_failure(tmp_path: Path) -> None:
    Program("fine", [sys.executable, "-c", "pass"], tmp_path / "log").wait()
    with pytest.raises(CannotRun, match="ended with 3"):
        Program("broken", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log").wait()
