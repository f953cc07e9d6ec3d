"""Judges pickles: every stream, both ways of reading joblib's arrays, and what lies in them as data."""

from __future__ import annotations

import base64
import binascii
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from moongate.core.spans import ByteSpan
from moongate.scan import arguments, hidden_programs
from moongate.scan.arguments import Doing
from moongate.scan.imports import Standing, is_importable_name, is_model_library, standing
from moongate.scan.ledger import Ledger
from moongate.weights.pickle_machine import ENDED, BadPickle, Machine
from moongate.weights.pickle_values import (
    UNKNOWN,
    Blob,
    Call,
    Import,
    Persistent,
    Value,
    describe,
)
from moongate.weights.ranged import Cursor, Held, Part, Ranged

MAX_STREAMS: Final = 100_000
MAX_OPERATIONS: Final = 50_000_000
_MAX_NESTED_BYTES = 1 << 20
_MAX_NESTED = 64
_MAX_TRIED = 1000
_MAX_UNMARKED = 2_000_000
"""How far is gone where nothing says that there is a pickle; a text goes on and on as one."""
_MAX_PROBED_BYTES = 64 << 20
_MAX_PROBED_OPERATIONS = 1_000_000
_MAX_PROBED_EACH = 50_000
# A mark of the protocol, then an operation that needs nothing before it.
_BEGINNING = re.compile(rb"\x80[\x02-\x05][\](})NIJKLMFGSTUVXBCciP\x80\x82-\x84\x88-\x8f\x95-\x97]")
# Operations whose line is short or asks for a loader: where a first one does not end, it is none.
_SHORT_LINES = frozenset((b"c", b"i", b"I", b"L", b"F", b"P", b"p", b"g"))
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{16,}\Z")
_ODD = {
    "frame": "pickle-frame",
    "short": "pickle-broken",
    "name": "pickle-name",
    "extension": "pickle-extension",
    "growth": "pickle-growth",
}


@dataclass(slots=True)
class Walked:
    """How one stream went."""

    end: int
    whole: bool
    imports: int
    operations: int
    underflows: int
    protocol: int | None
    why: str = ""


Inner: TypeAlias = "Callable[[Ranged, int], None]"


class Judge:
    """A `Watcher` that writes findings.

    lax: the stream may be no pickle at all, so that only imports that exist count.
    external_objects: a loader provides persistent objects here, as torch's does.
    inner: judges bytes that loading the pickle loads in turn, as what they are.
    """

    def __init__(
        self,
        ledger: Ledger,
        member: str,
        content: Ranged,
        *,
        lax: bool = False,
        external_objects: bool = False,
        depth: int = 0,
        inner: Inner | None = None,
    ) -> None:
        self._ledger = ledger
        self._member = member
        self._content = content
        self._lax = lax
        self._external_objects = external_objects
        self._depth = depth
        self._inner = inner or self._look_inside
        self._nested = 0
        self._blamed: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str], Standing] = {}
        self._getters: dict[int, Import] = {}
        self._getters_of_zones: set[int] = set()
        self._zones: dict[int, Call] = {}
        self.machine: Machine | None = None

    def imported(self, what: Import) -> None:
        key = (what.module, what.name)
        if key in _GETATTR:
            self._getters[id(what)] = what
            return
        stands = self._known.get(key)
        if stands is None:
            own = self._external_objects and what.module.partition(".")[0] == _TORCHSCRIPT
            stands = self._known[key] = (
                Standing.INERT if own and standing(*key) == Standing.UNKNOWN else standing(*key)
            )
            if self._lax and not is_importable_name(*key):
                return
            if stands >= Standing.UNKNOWN_FUNCTION:
                self._say_import(what, stands)
            elif stands == Standing.UNKNOWN:
                self._find("pickle-import-unknown", f"imports {what.dotted}", what.at, what)

    def _say_import(self, what: Import, stands: Standing) -> None:
        if stands == Standing.REFUSED:
            self._find("pickle-import", f"imports {what.dotted}", what.at, what)
        else:
            self._find("pickle-import-unknown", f"imports {what.dotted}", what.at, what)

    def ended(self) -> None:
        """The stream is over; what could have been a zone of time and was not is told."""
        for what in self._getters.values():
            if id(what) not in self._getters_of_zones:
                self._say_import(what, Standing.REFUSED)
        self._getters.clear()

    def called(self, what: Call) -> None:
        callee = what.callee
        if id(callee) in self._zones:
            return
        if id(callee) in self._getters and _is_zone(what):
            self._zones[id(what)] = what
            self._getters_of_zones.add(id(callee))
            return
        if isinstance(callee, Import):
            self._called_import(what, callee)
        elif (isinstance(callee, Call) and not (self._lax and _is_of_nothing(callee))) or (
            not self._lax and callee is not UNKNOWN
        ):
            self._found_call("pickle-call", what)

    def _called_import(self, what: Call, callee: Import) -> None:
        if self._lax and not is_importable_name(callee.module, callee.name):
            return
        stands = self._known.get((callee.module, callee.name), Standing.REFUSED)
        if stands == Standing.REFUSED:
            self._found_call("pickle-call", what)
        elif stands == Standing.UNKNOWN_FUNCTION:
            self._found_call("pickle-call-unknown", what)
        elif stands == Standing.ALLOWED:
            self._called_allowed(what, callee)
        elif what.opcode != "NEWOBJ":
            self._constructed(what, callee, stands)

    def _called_allowed(self, what: Call, callee: Import) -> None:
        if not arguments.of_allowed(callee, what.arguments):
            self._found_call("pickle-call", what)
        elif callee.name == "_load_from_bytes" and isinstance(what.arguments, tuple):
            self._look_at_loaded(what.arguments[0], what.at)

    def _constructed(self, what: Call, callee: Import, stands: Standing) -> None:
        """A constructor runs: of a class that is inert without it, or of one that is not known."""
        values = what.arguments
        if what.opcode == "NEWOBJ_EX" and stands == Standing.INERT:
            return
        doing = arguments.of_class(callee, values)
        if stands == Standing.UNKNOWN and is_model_library(callee.module):
            doing = Doing.LOADING
        if doing == Doing.LOADING:
            self._found_call("pickle-call-unknown", what)
        elif doing == Doing.UNUSUAL:
            self._found_call("pickle-constructor", what)

    def _look_at_loaded(self, data: Value, at: int) -> None:
        """Bytes that torch loads at once: whatever they are, they are judged like a file."""
        if isinstance(data, Blob):
            content: Ranged = Part(self._content, ByteSpan(data.at, data.at + data.length))
        else:
            content = Held(data if isinstance(data, bytes) else b"")
        self._inner(content, at)

    def _found_call(self, rule: str, what: Call) -> None:
        key = (rule, describe(what.callee, 1))
        if key in self._blamed:
            return
        self._blamed.add(key)
        words = describe(what)
        evidence = {"call": words, "opcode": what.opcode, "trail": self._trail()}
        self._ledger.add(rule, f"calls {words}", member=self._member, offset=what.at, evidence=evidence)

    def built(self, target: Value, state: Value, at: int) -> None:
        if isinstance(target, Call) and not arguments.of_state(target.callee, state):
            self._found_call("pickle-call", Call(target.callee, state, at, "BUILD"))
        if isinstance(target, Import) and not (
            self._lax and not is_importable_name(target.module, target.name)
        ):
            words = f"changes {target.dotted} with {describe(state)}"
            self._ledger.add("pickle-build", words, member=self._member, offset=at)

    def persistent(self, what: Persistent) -> None:
        if not (self._external_objects or self._lax or _is_storage(what.identity)):
            words = f"asks its loader for the object {describe(what.identity)}"
            self._ledger.add("pickle-persistent", words, member=self._member, offset=what.at)

    def blob(self, what: Blob) -> None:
        if what.head.startswith((b"\x7fELF", b"MZ")):
            self._judge_program(what)
        if self._depth >= 3 or self._nested >= _MAX_NESTED or not _BEGINNING.match(what.head):
            return
        self._nested += 1
        span = ByteSpan(what.at, what.at + min(what.length, _MAX_NESTED_BYTES))
        self._look_inside(Part(self._content, span), what.at)

    def _judge_program(self, what: Blob) -> None:
        end = what.at + min(what.length, hidden_programs.HEAD_BYTES)
        if kind := hidden_programs.kind_of(self._content.read(ByteSpan(what.at, end))):
            words = f"holds a program for {kind}"
            self._ledger.add("native-code", words, member=self._member, offset=what.at)

    def text(self, value: str, at: int) -> None:
        """A short text that may be a pickle in base64."""
        if self._nested >= _MAX_NESTED or self._depth >= 3 or not _BASE64.match(value):
            return
        try:
            raw = base64.b64decode(value, validate=False)
        except (binascii.Error, ValueError):
            return
        if _BEGINNING.match(raw):
            self._nested += 1
            self._look_inside(Held(raw), at)

    def _look_inside(self, content: Ranged, at: int) -> None:
        inner = Ledger()
        judge = Judge(inner, "", content, lax=True, depth=self._depth + 1)
        walk(content, judge)
        if inner.is_dangerous:
            worst = inner.report().findings[0]
            self._ledger.add(
                "pickle-nested", f"holds a pickle that {worst.what}", member=self._member, offset=at
            )

    def odd(self, kind: str, words: str, at: int) -> None:
        if self._lax:
            return
        rule = _ODD[kind]
        self._ledger.add(rule, words, member=self._member, offset=at, evidence={"trail": self._trail()})

    def _find(self, rule: str, what: str, at: int, subject: Import) -> None:
        evidence = {"import": subject.dotted, "opcode": subject.opcode, "trail": self._trail()}
        self._ledger.add(rule, what, member=self._member, offset=at, evidence=evidence)

    def _trail(self) -> list[str]:
        return trail(self._content, self.machine.trail()) if self.machine else []


_TORCHSCRIPT = "__torch__"
"""Where an archive of TorchScript has the classes that it brings itself, as code that is compiled."""
_GETATTR = frozenset((("builtins", "getattr"), ("__builtin__", "getattr")))


def _is_of_nothing(what: Call) -> bool:
    """Whether what is called comes from an empty stack, as in text that is no pickle."""
    callee: Value = what
    while isinstance(callee, Call):
        callee = callee.callee
    return not isinstance(callee, Import)


def _is_zone(what: Call) -> bool:
    """`getattr(ZoneInfo, "_unpickle")`: how a zone of time is pickled, and the one good use of getattr."""
    given = what.arguments
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and given[1] == "_unpickle"
        and isinstance(given[0], Import)
        and given[0].dotted == "zoneinfo.ZoneInfo"
    )


def _is_storage(identity: Value) -> bool:
    """`('storage', torch.FloatStorage, '0', 'cpu', 6)`: what torch asks its own loader for."""
    return isinstance(identity, tuple) and len(identity) in {5, 6} and identity[0] == "storage"


def walk(
    content: Ranged,
    judge: Judge,
    at: int = 0,
    *,
    inline_arrays: bool = True,
    max_operations: int = MAX_OPERATIONS,
) -> Walked:
    """One stream; never raises."""
    machine = Machine(content, judge, at=at, inline_arrays=inline_arrays, max_operations=max_operations)
    judge.machine = machine
    why, whole = "", True
    try:
        machine.run()
    except BadPickle as bad:
        why, whole = bad.message, False
    judge.ended()
    return Walked(
        machine.at, whole, machine.imports, machine.operations, machine.underflows, machine.protocol, why
    )


def judge_pickles(
    content: Ranged,
    ledger: Ledger,
    member: str,
    *,
    external_objects: bool = False,
    sure: bool = False,
    inner: Inner | None = None,
) -> bool:
    """Every pickle stream from the start of content on; whether it was pickles at all.

    sure: something says that this is a pickle (a member's role, object arrays); breaking is then a finding.
    inner: see `Judge`.
    """
    trial = Ledger()
    head = content.read(ByteSpan(0, 2))
    bound = _MAX_TRIED if head[:1] == b"\x80" and head[1:] <= b"\x05" else _MAX_UNMARKED
    judge = Judge(trial, member, content, lax=True, external_objects=True)
    first = walk(content, judge, max_operations=bound)
    marked = content.read(ByteSpan(0, 1)) == b"\x80" and first.protocol is not None and first.operations > 1
    if first.operations > bound and bound == _MAX_UNMARKED and not (sure or first.imports):
        ledger.add("pickle-too-long", "it may be a pickle that does nothing for very long", member=member)
        return False
    if not (
        sure
        or marked
        or (first.whole and not first.underflows and first.operations > 1)
        or trial.is_dangerous
    ):
        return False
    if not first.whole and not (sure or first.imports or trial.is_dangerous) and first.operations < 8:
        return False
    ledger.saw("pickle")
    _judge_streams(content, ledger, member, external_objects=external_objects, inner=inner)
    return True


def _judge_streams(
    content: Ranged, ledger: Ledger, member: str, *, external_objects: bool, inner: Inner | None
) -> None:
    at, streams, torch = 0, 0, external_objects or _is_torch(content)
    end = 0
    while at < content.size_bytes and streams < MAX_STREAMS:
        lax = streams > 0 and not _is_stream(content, at)
        judge = Judge(ledger, member, content, lax=lax, external_objects=torch, inner=inner)
        walked = walk(content, judge, at)
        if judge.machine is not None and judge.machine.arrays:
            walk(content, Judge(ledger, member, content, lax=True), at, inline_arrays=False)
        end = walked.end
        if not walked.whole:
            _judge_break(ledger, member, walked, first=streams == 0)
            break
        if walked.end <= at:
            break
        at, streams = walked.end, streams + 1
    else:
        if at < content.size_bytes:
            ledger.add("pickle-too-long", "there are more streams than we follow", member=member, offset=at)
        return
    probe(content, ledger, member, max(end, at + 1))


def _is_stream(content: Ranged, at: int) -> bool:
    """Whether what follows a pickle is one, too: by its mark, or because all of it fits and it imports."""
    if content.read(ByteSpan(at, at + 1)) == b"\x80":
        return True
    judge = Judge(Ledger(), "", content, lax=True, external_objects=True)
    walked = walk(content, judge, at, max_operations=_MAX_TRIED)
    return walked.whole and walked.imports > 0 and not walked.underflows


def may_begin(head: bytes) -> bool:
    """Whether the beginning of a file could be a pickle's; so much of it as is there must fit."""
    judge = Judge(Ledger(), "", Held(head), lax=True, external_objects=True)
    machine = Machine(Held(head), judge, max_operations=_MAX_TRIED)
    try:
        machine.run()
    except BadPickle as bad:
        if bad.message == ENDED and machine.operations == 1:
            return head[:1] not in _SHORT_LINES
        return bad.message == ENDED or machine.operations > 8 or machine.imports > 0
    return machine.operations > 1


def _judge_break(ledger: Ledger, member: str, walked: Walked, *, first: bool) -> None:
    if walked.why == "it is longer than we follow":
        ledger.add("pickle-too-long", walked.why, member=member, offset=walked.end)
    elif first:
        ledger.add("pickle-broken", walked.why, member=member, offset=walked.end)


def _is_torch(content: Ranged) -> bool:
    """Torch's old container begins with its magic number as a pickle."""
    return content.read(ByteSpan(0, 16)).find(b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") > 0


def may_run(content: Ranged) -> str | None:
    """What a stream that was found where nobody expects one would do, when that is dangerous."""
    ledger = Ledger()
    walked = walk(
        content, Judge(ledger, "", content, lax=True, external_objects=True), max_operations=_MAX_PROBED_EACH
    )
    return ledger.report().findings[0].what if ledger.is_dangerous and not walked.underflows else None


def probe(content: Ranged, ledger: Ledger, member: str, at: int = 0) -> None:
    """Looks for pickles that begin anywhere from there on, and tells those that would run code."""
    end = min(content.size_bytes, at + _MAX_PROBED_BYTES)
    step, left = 1 << 20, _MAX_PROBED_OPERATIONS
    while at < end and left > 0:
        data = content.read(ByteSpan(at, min(end, at + step + 3)))
        for found in _BEGINNING.finditer(data):
            if left <= 0:
                ledger.add("too-large", "more places look like pickles than we follow", member=member)
                return
            inner = Ledger()
            start = at + found.start()
            part = Part(content, ByteSpan(start, start + _MAX_NESTED_BYTES))
            judge = Judge(inner, member, part, lax=True, external_objects=True)
            walked = walk(part, judge, max_operations=min(left, _MAX_PROBED_EACH))
            left -= walked.operations + 1
            if inner.is_dangerous and walked.underflows == 0:
                words = f"a pickle at byte {start} {inner.report().findings[0].what}"
                ledger.add("pickle-call", words, member=member, offset=start)
                return
        at += step


def trail(content: Ranged, places: list[int]) -> list[str]:
    """The operations at those places, in words."""
    lines = []
    for at in places:
        cursor = Cursor(content, at, window_bytes=160)
        head = cursor.peek(120)
        if head:
            lines.append(f"{at}: {_operation(head)}")
    return lines


_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}


def _operation(head: bytes) -> str:
    known = _OPERATIONS.get(chr(head[0]))
    if known is None:
        return f"0x{head[0]:02x}"
    try:
        _, argument, _ = next(pickletools.genops(head))
    except (ValueError, StopIteration):
        return f"{known.name} {head[1:60].decode('ascii', 'replace')!r}…"
    return known.name if argument is None else f"{known.name} {str(argument)[:80]!r}"
