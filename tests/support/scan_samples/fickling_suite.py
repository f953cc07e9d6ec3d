"""What the tests of another scanner, fickling, put together, written anew from the operations they list.

Names are those of the tests, with the number of the pickle in each. Source: trailofbits/fickling, test/.
"""

from __future__ import annotations

import pickle
import struct

from support.pickled import text
from support.scan_samples.assembly import framed, names

START = b"\x80\x04"


def _called(module: str, name: str) -> bytes:
    return START + f"c{module}\n{name}\n".encode() + b")R."


def _new_call(module: str, name: str, arguments: bytes = b")") -> bytes:
    return START + names(module, name) + arguments + b"R."


def _quoted(words: str) -> bytes:
    """As that suite writes it: without the newline that an unpickler waits for."""
    return f"S'{words}'".encode()


def _memoised(*words: str | bytes) -> bytes:
    return b"".join((text(word) if isinstance(word, str) else word) + b"\x94" for word in words)


def divergence(frame_bytes: int = 2) -> bytes:
    """A byte string that reads past its frame: what lies in it, other readers run."""
    hidden = b"cos\nsystem\nVecho pwned\n\x85R("
    return (
        b"\x80\x05NV" + b"a" * (8192 * 16 - 17) + b"\n0(\x95" + struct.pack("<Q", frame_bytes)
        + b"B\x07\x01\x00\x00\x00\x00" + hidden.ljust(261, b"N") + b"1."
    )  # fmt: skip


_SERVERS = (("smtplib", "SMTP", 25), ("imaplib", "IMAP4", 143), ("ftplib", "FTP", 21), ("poplib", "POP3", 110),
            ("telnetlib", "Telnet", 23), ("nntplib", "NNTP", 119))  # fmt: skip
STRADDLING = (
    (b"B" + struct.pack("<I", 20) + b"A" * 20 + b".", 5),
    (b"\x8c\x14" + b"A" * 20 + b".", 3),
    (b"cmacos\nsystem\n.", 4),
    (b"cos\nsystem\n.", 7),
    (b"Vhello world\n.", 5),
    (b"J" + struct.pack("<i", 7) + b".", 2),
    (b"N\x95" + struct.pack("<Q", 2) + b"N.", 30),
)
"""What stands behind a frame's head, and the length that the frame claims."""
_WELL_FORMED = [
    pickle.dumps(value, protocol)
    for value in (
        [1, 2, 3, 4],
        b"x" * 100_000,
        [1, b"y" * 100_000, 2],
        list(range(200_000)),
        {"a": [1, 2, {"b": (3, 4)}], "c": [5, 6]},
    )
    for protocol in (2, 4, 5)
]
_UNSAFE = ("torch load", "torch compile", "torch.storage _load_from_bytes", "torch.utils._config_module ConfigModule",
           "torch.distributed.elastic.rendezvous.api basichandlers", "numpy.testing._private.utils runstring",
           "_io FileIO", "_io open", "io FileIO", "io open")  # fmt: skip
_UNSAFE_MODULES = ("torch.hub", "torch._dynamo", "torch._inductor", "torch.jit", "torch.compile", "numpy.f2py",
                   "numpy.distutils")  # fmt: skip
_SCANNERS = ("saferpickle", "model_unpickler", "modelaudit", "fickling", "modelscan", "picklescan")


def _numbered(test: str, pickles: list[bytes]) -> dict[str, bytes]:
    return {f"{test}#{place}": data for place, data in enumerate(pickles, 1)}


SAMPLES: dict[str, bytes] = {
    "test_builtins_import_bypass#1": b"cbuiltins\n__import__\n" + _quoted("os") + b"\x85Rp0\n0cbuiltins\ngetattr\ng0\n"
    + _quoted("system") + b"\x86Rp1\n0g1\n" + _quoted("whoami") + b"\x85R.",
    "test_distutils_write_file#1": START + names("distutils.file_util", "write_file") + text("/tmp/malicious.txt")
    + b"(" + text("malicious content") + b"l\x86R.",
    "test_dotted_attr_via_stdlib_module#1": _new_call("pathlib", "os.system"),
    "test_frame_boundary_divergence#1": divergence(268),
    **_numbered("test_frame_boundary_straddle_variants", [framed(body, len(body) - 1) for body, _ in STRADDLING]),
    "test_missing_ctypes#1": b"\x80\x05" + _memoised("builtins", "getattr", b"\x93", "ctypes", "CDLL", b"\x93",
                                                     "libc.dylib", b"\x85", b"R", "system", b"\x86", b"R",
                                                     b"C\x02id", b"\x85", b"R") + b".",
    "test_missing_pty_unsafe_imports_ghsa#1": START + b"\x95" + struct.pack("<Q", 26)
    + _memoised("pty", "spawn", b"\x93", "id", b"\x85", b"R", "gottem") + b"b.",
    "test_missing_pty_unsafe_imports_pr#1": b"(cpty\nspawn\n" + _quoted("id") + b"o.",
    "test_missing_runpy#1": b"\x80\x05\x95" + struct.pack("<Q", 46)
    + _memoised("runpy", "run_path", b"\x93", "/tmp/malicious.py", b"\x85", b"R") + b".",
    "test_missing_uuid#1": _new_call("uuid", "_get_command_stdout", text("echo") + text("PROOF_OF_CONCEPT") + b"\x86"),
    "test_ml_allowlist_not_shadowed_by_unsafe_imports_ml#1": START + names("ast", "parse") + b".",
    **_numbered(
        "test_network_protocol_ssrf",
        [START + f"c{module}\n{name}\n".encode() + text("127.0.0.1") + b"M" + struct.pack("<H", port) + b"\x86R}b."
         for module, name, port in _SERVERS],
    ),
    "test_obj_pop_call_invisibility#1": START + b"(" + names("smtplib", "SMTP") + text("127.0.0.1") + b"o0N.",
    "test_private_stdlib_allowlist#3": START + names("__future__", "_ssl.RAND_bytes") + b".",
    **_numbered(
        "test_private_stdlib_interpreters_blocklisted",
        [_new_call("_interpreters", "create"), _new_call("_xxsubinterpreters", "create")],
    ),
    "test_safe_builtin_dict_not_flagged#1": b"cbuiltins\ndict\n)R.",
    "test_safe_builtins_not_flagged#1": b"cbuiltins\nlen\n]\x85R.",
    "test_unsafe_builtins_still_flagged#1": b"cbuiltins\ngetattr\n" + _quoted("os") + _quoted("system") + b"\x86R.",
    **_numbered("test_well_formed_frames_are_not_flagged", _WELL_FORMED),
    **_numbered("test_all_unsafe_imports_detected", [_called(*words.split()) for words in _UNSAFE]),
    **_numbered(
        "test_all_unsafe_modules_detected", [_called(module, "dangerous") for module in _UNSAFE_MODULES]
    ),
    "test_impossible_cyclic_pickle#2": START + b"\x8f\x94(g0\n\x90.",
    "test_check_safety_catches_resource_exhaustion#1": START + b"]\x94" + b"h\x00a" * 200 + b".",
    **_numbered("test_all_scanner_modules_covered", [_new_call(module, "some_func") for module in _SCANNERS]),
    "test_benign_import_not_flagged#1": _new_call("collections", "OrderedDict"),
    "test_fickling_remove_hook#1": _new_call("fickling.hook", "remove_hook"),
}  # fmt: skip

BENIGN = ("test_safe_", "test_well_formed_", "test_benign_")
