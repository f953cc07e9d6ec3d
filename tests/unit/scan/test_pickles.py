"""Pickles are judged by what they would import and call, however that is written."""

from __future__ import annotations

import collections
import datetime
import pathlib
import pickle
import struct

import numpy as np
import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, calls, text

_FRAMED = b"\x80\x04\x95" + struct.pack("<Q", len(EVIL) - 2) + EVIL[2:]

EVIL_STREAMS = {
    "plain": EVIL,
    "protocol 2": calls("os", "system", 2),
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "no protocol mark": EVIL[2:],
    "framed": _FRAMED,
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'true'\no.",
    "newobj": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85\x81.",
    "newobj_ex": b"\x80\x04" + text("subprocess") + text("Popen") + b"\x93" + text("true") + b"\x85}\x92.",
    "names through the memo": b"\x80\x04"
    + text("posix") + b"\x94" + text("system") + b"\x940h\x00h\x01\x93)R.",
    "names that escape": b"\x80\x02cos\nsystem\n(V\\u0074rue\ntR.",
    "a result thrown away": EVIL[:-1] + b"0N.",
    "second stream": pickle.dumps({"a": 1}) + EVIL,
    "no stop": EVIL[:-1],
    "broken after the call": EVIL[:-1] + b"\xff\xff",
    "a thousand pairs of nothing first": b"\x80\x04" + b"N0" * 1000 + EVIL[2:],
    "a long text first": b"\x80\x04X" + struct.pack("<I", 300_000) + b"x" * 300_000 + b"0" + EVIL[2:],
    "a name with a dot": calls("collections", "_sys.modules.clear"),
    "inside an allowed module": calls("collections", "namedtuple"),
    "a name that is worked out": b"\x80\x04" + text("os") + b"K\x01\x85\x93)R.",
    "an extension code": b"\x80\x02\x82\x01)R.",
    "state on an import": b"\x80\x04" + text("collections") + text("OrderedDict") + b"\x93}b.",
    "an import in a state": b"\x80\x04" + text("collections") + text("OrderedDict") + b"\x93)R"
    + text("posix") + text("system") + b"\x93b.",
    "a call of a result": b"\x80\x04" + text("operator") + text("itemgetter") + b"\x93K\x00\x85R)R.",
    "a frame in a frame": b"\x80\x04\x95\x20" + bytes(7) + b"N0\x95\x02" + bytes(7) + b"N." + bytes(40),
    "a function of a library": calls("torch.hub", "load"),
    "a function of nobody's": calls("somebody.tools", "run"),
    "a tool's class": calls("jinja2", "Template"),
    "a reconstruction on a strange base": b"\x80\x02ccopy_reg\n_reconstructor\n"
     b"cnumpy\nndarray\ncos\nsystem\nN\x87R.",
    "rot13 that hides": b"\x80\x04" + text("_codecs") + text("encode") + b"\x93" + text("bf") + text("rot13")
    + b"\x86R.",
    "an array of joblib that is a pickle": b"\x80\x04"
    + text("joblib.numpy_pickle") + text("NumpyArrayWrapper")
    + b"\x93)\x81}(" + text("shape") + b"K\x08\x85" + text("dtype") + text("numpy") + text("dtype") + b"\x93"
    + text("u1") + b"\x85Rub" + EVIL[2:].ljust(64, b"."),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL_STREAMS)
def test_what_would_run_is_dangerous(name: str) -> None:
    report = judge(Held(EVIL_STREAMS[name]), "model.bin")
    assert report.verdict == "dangerous", report


GOOD = {
    "containers": {"a": [1, 2.5, None, True, b"x", "y"], "s": {1, 2}, "t": (1, 2)},
    "large numbers": [2**70, -(2**900)],
    "ordered": collections.OrderedDict(a=1),
    "defaults": collections.defaultdict(list, a=[1]),
    "moments": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "paths": pathlib.PurePosixPath("/a/b"),
    "arrays": np.arange(1000.0),
    "objects in arrays": np.array([{"a": 1}, None], dtype=object),
    "scalars": [np.float32(1), np.int64(3), np.dtype("<f4")],
    "random state": np.random.default_rng(0),
    "numbers by the thousand": [float(i) for i in range(50_000)] + list(range(50_000)),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", GOOD)
def test_what_picklers_write_of_data_is_clean(name: str, protocol: int) -> None:
    report = judge(Held(pickle.dumps(GOOD[name], protocol)), "data.pkl")
    assert report.verdict == "clean", report
    assert report.formats == ("pickle",)


def test_a_class_that_nobody_knows_is_for_review() -> None:
    made = b"\x80\x04" + text("somebody.models") + text("Net") + b"\x93)\x81}b."
    assert judge(Held(made)).verdict == "suspicious"


def test_a_finding_carries_the_way_to_it() -> None:
    report = judge(Held(calls("os", "system")))
    call = next(finding for finding in report.findings if finding.rule == "pickle-call")
    assert call.what == "calls os.system('true')"
    assert call.offset == len(calls("os", "system")) - 2
    trail = call.evidence["trail"]
    assert isinstance(trail, list)
    assert trail[-1].endswith("REDUCE")
    assert any("STACK_GLOBAL" in step for step in trail)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_clean(seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(200_000)
    assert judge(Held(noise), "noise.bin").verdict == "clean"


def test_a_pickle_as_data_is_for_review() -> None:
    report = judge(Held(pickle.dumps({"inner": EVIL})))
    assert report.verdict == "suspicious"
    assert report.findings[0].rule == "pickle-nested"


def test_a_truncated_pickle_is_not_clean() -> None:
    whole = pickle.dumps(GOOD["containers"])
    assert judge(Held(whole[:-3])).verdict in {"failed", "suspicious"}


def test_values_that_contain_themselves_are_told_briefly() -> None:
    laughs = b"\x80\x02]" + b"".join(b"(h\x00h\x00h\x00t" for _ in range(10)) + b"."
    looped = b"\x80\x02]q\x00h\x00acos\nsystem\nh\x00\x85R."
    for stream in (laughs, looped):
        report = judge(Held(stream))
        assert all(len(finding.what) <= 400 for finding in report.findings)
