"""Takes from this process what a scanner never needs: the network, new processes, writing, and much memory.

A filter of system calls (seccomp) answers "not permitted" to them, for good. Where the kernel or the machine
has no such filter, limits on memory and files remain, and `confine` says so.
Source: seccomp(2), linux/filter.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from dataclasses import dataclass
from typing import Final

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class _Machine:
    """The numbers of one architecture. refused: never; opens: number and which argument has the flags."""

    audit: int
    refused: tuple[int, ...]
    opens: tuple[tuple[int, int], ...]


_MACHINES: Final = {
    # socket connect accept sendto bind listen socketpair clone fork vfork execve kill truncate rename mkdir
    # rmdir creat link unlink symlink chmod ptrace mkdirat unlinkat renameat linkat symlinkat fchmodat
    # accept4 open_by_handle_at process_vm_writev renameat2 execveat io_uring_setup clone3 openat2
    "x86_64": _Machine(
        0xC000003E,
        (41, 42, 43, 44, 49, 50, 53, 56, 57, 58, 59, 62, 76, 82, 83, 84, 85, 86, 87, 88, 90, 101, 258, 263,
         264, 265, 266, 268, 288, 304, 311, 316, 322, 425, 435, 437),
        ((2, 1), (257, 2)),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        (198, 199, 200, 201, 202, 203, 206, 220, 221, 129, 45, 117, 34, 35, 36, 37, 38, 53, 242, 265, 271,
         276, 281, 425, 435, 437),
        ((56, 2),),
    ),
}  # fmt: skip


def confine(memory_bytes: int) -> bool:
    """For the rest of this process's life; whether the kernel refuses those calls, too."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    machine = _MACHINES.get(platform.machine())
    return machine is not None and _install(_program(machine))


def _program(machine: _Machine) -> bytes:
    """The filter: wrong architecture and x32 refused, then each call in turn."""
    steps = [_step(_LOAD, 4), _step(_EQUAL, machine.audit, 1, 0), _step(_RETURN, _REFUSE), _step(_LOAD, 0)]
    steps += [_step(_AT_LEAST, 0x40000000, 0, 1), _step(_RETURN, _REFUSE)]
    for number in machine.refused:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE)]
    for number, argument in machine.opens:
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, 16 + 8 * argument),
            _step(_ANY_BIT, _WRITES, 0, 1),
            _step(_RETURN, _REFUSE),
            _step(_RETURN, _ALLOW),
        ]
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def _install(program: bytes) -> bool:
    steps = ctypes.create_string_buffer(program, len(program))
    whole = _Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(whole), 0, 0) == 0)
