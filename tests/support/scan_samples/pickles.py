"""Pickles by their operations: what is made to harm (with arguments that do nothing), and what models hold."""

from __future__ import annotations

import base64
import pickle
import struct
from collections import OrderedDict, defaultdict
from pathlib import PurePosixPath
from uuid import UUID

import numpy as np

from support.pickled import EVIL, text
from support.scan_samples.assembly import joined, made, names

SYSTEM = joined(text("posix"), text("system"), b"\x93")
POPEN = joined(text("subprocess"), text("Popen"), b"\x93")
TRUE = text("true")
START = b"\x80\x04"


def _long_text(words: str) -> bytes:
    raw = words.encode()
    return b"\x8d" + struct.pack("<Q", len(raw)) + raw


STRUCTURES: dict[str, bytes] = {
    "struct_big_string_pad.pkl": START + b"X" + struct.pack("<I", 3_000_000) + b"a" * 3_000_000
    + b"0" + SYSTEM + TRUE + b"\x85R.",
    "struct_binunicode8.pkl": START + _long_text("posix") + _long_text("system") + b"\x93" + TRUE + b"\x85R.",
    "struct_build.pkl": START + names("collections", "OrderedDict") + b")R}" + text("f") + SYSTEM + b"sb.",
    "struct_dotted_attr2.pkl": START + names("torch", "serialization.os.system") + TRUE + b"\x85R.",
    "struct_dup_frame_len.pkl": START + b"\x95" + struct.pack("<Q", 4096) + EVIL[2:],
    "struct_ext_copyreg.pkl": START + names("copyreg", "add_extension") + text("posix") + text("system")
    + b"K\x7f\x87R0\x82\x7f" + TRUE + b"\x85R.",
    "struct_frame_straddle_global.pkl": START + b"\x95" + struct.pack("<Q", 4) + b"cos\nsystem\n.",
    "struct_inst.pkl": b"(S'true'\niposix\nsystem\n.",
    "struct_junk_then_pickle.pt": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
     b"\x80\x02}q\x00." + EVIL,
    "struct_long_opcode_newline.pkl": START + b"cos\r\nsystem\n" + TRUE + b"\x85R.",
    "struct_many_streams.pkl": pickle.dumps([1], 2) * 200 + EVIL,
    "struct_memo_get.pkl": START + text("posix") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93"
    + TRUE + b"\x85R.",
    "struct_nested_b64.pkl": START + names("base64", "b64decode") + text(base64.b64encode(EVIL).decode())
    + b"\x85R.",
    "struct_nested_loads.pkl": START + names("_pickle", "loads") + b"C" + bytes((len(EVIL),)) + EVIL + b"\x85R.",
    "struct_newobj_ex.pkl": START + POPEN + TRUE + b"\x85}\x92.",
    "struct_obj.pkl": b"\x80\x02(cposix\nsystem\nX\x04\x00\x00\x00trueo.",
    "struct_padding_1m.pkl": START + b"N0" * 500_000 + EVIL[2:],
    "struct_persid.pkl": b"\x80\x02Pdata_0\n.",
    "struct_pop_hidden.pkl": START + SYSTEM + TRUE + b"\x85R0].",
    "struct_proto5_bytearray.pkl": b"\x80\x05\x96" + struct.pack("<Q", 3) + b"abc0" + EVIL[2:],
    "struct_second_stream.pkl": pickle.dumps({"a": 1}, 4) + EVIL,
    "struct_truncated_no_stop.pkl": EVIL[:-1],
    "pickle_billion_laughs.pkl": b"\x80\x02]q\x00" + b"".join(
        b"(" + b"h" + bytes((n,)) + (b"h" + bytes((n,))) * 9 + b"lq" + bytes((n + 1,)) for n in range(12)
    ) + b".",
}  # fmt: skip

SUSPECTS = frozenset(
    [
        "struct_frame_straddle_global.pkl",
        "struct_long_opcode_newline.pkl",
        "struct_persid.pkl",
        "pickle_billion_laughs.pkl",
    ]
)
"""Not to be served unasked, and not proven to run anything."""


def state_dict(protocol: int) -> bytes:
    dice = np.random.default_rng(1)
    layers = {f"layer.{n}.weight": dice.standard_normal((24, 24), dtype=np.float32) for n in range(8)}
    return pickle.dumps(OrderedDict(layers), protocol)


def _frame() -> bytes:
    """A small DataFrame, as pandas writes it: a manager with blocks and an index."""
    index = joined(
        START, names("pandas.core.indexes.base", "_new_Index"), names("pandas.core.indexes.base", "Index")
    )
    values = pickle.dumps(np.array(["a", "b"], dtype=object), 2)[2:-1]
    return joined(
        START,
        names("pandas.core.frame", "DataFrame"), b")\x81}", text("_mgr"),
        names("pandas.core.internals.managers", "BlockManager"),
        names("pandas._libs.internals", "_unpickle_block"), pickle.dumps(np.ones((2, 2)), 2)[2:-1],
        names("builtins", "slice"), b"K\x00K\x02K\x01\x87R", b"K\x02\x87R\x85",
        index[2:], b"}", text("data"), values, b"s", b"\x86R\x85", b"\x86R",
        b"sb.",
    )  # fmt: skip


def _containers() -> object:
    return {"a": [1, 2.5, "x"], "b": (True, None), "c": {"d": 1}}


BENIGN: dict[str, bytes] = {
    "builtins_p0.pkl": pickle.dumps(_containers(), 0),
    "builtins_p1.pkl": pickle.dumps(_containers(), 1),
    "builtins_p4.pkl": pickle.dumps(_containers(), 4),
    "defaultdict.pkl": pickle.dumps(defaultdict(list, {"a": [1]}), 4),
    "lgbm.pkl": made("lightgbm.sklearn", "LGBMClassifier", {"boosting_type": "gbdt", "n_estimators": 100}),
    "np_generator.pkl": pickle.dumps(np.random.default_rng(3), 4),
    "np_random_state.pkl": pickle.dumps(np.random.RandomState(3), 4),
    "np_scalars.pkl": pickle.dumps([np.float32(1), np.int64(2), np.bool_(True), np.str_("x")], 4),
    "np_state_dict_p2.pkl": state_dict(2),
    "ordereddict.pkl": pickle.dumps(OrderedDict(a=1, b=2), 4),
    "pandas_df.pkl": _frame(),
    "pathlib.pkl": pickle.dumps(PurePosixPath("/tmp/out"), 4),
    "setfit_head.pkl": made(
        "sklearn.linear_model._logistic", "LogisticRegression", {"C": 1.0, "penalty": "l2"}
    ),
    "sk_svc.pkl": made("sklearn.svm._classes", "SVC", {"kernel": "rbf", "_sparse": False, "C": 1.0}),
    "sk_tfidf.pkl": made(
        "sklearn.feature_extraction.text",
        "TfidfVectorizer",
        {"vocabulary_": {"os": 0, "system": 1, "import": 2, "eval": 3, "subprocess": 4}},
    ),
    "statsmodels.pkl": made(
        "statsmodels.regression.linear_model", "RegressionResultsWrapper", {"_results": None}
    ),
    "uuid.pkl": pickle.dumps(UUID(int=7), 4),
}
