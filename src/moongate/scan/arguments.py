"""Whether an import that may pass is called as models call it.

Some functions call what they are given; those may be given only what their own library gives them. The
constructors of libraries run when a pickle says REDUCE: with numbers and short words they make a value (an
Enum, a dtype), with a path, an address or a repository they load what lies there.
"""

from __future__ import annotations

import re
from enum import IntEnum

from moongate.scan.imports import Standing, standing
from moongate.weights.pickle_values import Blob, Call, Import, Made, Value

_ENCODINGS = frozenset(("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"))
_PLAIN_BASES = frozenset(
    "object dict list set frozenset tuple int float str bytes complex Exception".split()  # noqa: SIM905
)
_MODULES_WITH_FUNCTIONS = re.compile(r"(?:numpy|scipy)(?:\.[a-z_]+)*\Z")
_WORD = re.compile(r"[\w .+-]{0,64}\Z")
_FILE = re.compile(r"\.(?:[a-z][a-z0-9]{1,11})\Z", re.IGNORECASE)
_ENUM = re.compile(
    r"(?:Type|Strategy|Mode|Names?|Kind|Policy|Method|Level|Options?|Enum|Format|Reduction|Backend|Stage|Split|State|"
    r"Status|Flag|Algorithm|Function|Activation|Precision|Direction|Order|Layout|Unit|Resolution|Dtype|DType|Task|"
    r"Norm|Position|Side|Schedule|Implementation|Version|Category|Scheme|Interval|Metric|Loss|Role|Tokens?)s?\Z"
)
# What is named so takes the name of a model, a file or a repository as its first text.
_LOADS = re.compile(
    r"(?:Model|Pipeline|Tokenizer\w*|Processor|Dataset|Folder|Learner|Trainer|Reader|Config|Parser|Layer|LLM|Tool|"
    r"YOLO\w*|RTDETR|SAM|Boost|Booster|DMatrix|Encoder|Predictor|Embeddings?)\Z"
)
# Libraries of values: their classes, the busy ones apart, are made with whatever the value says.
_CONSTRUCTED = frozenset(("pandas", "numpy", "scipy", "pyarrow", "ml_dtypes"))


# What goes through its argument, and so calls what an iterator there was given.
_ITERATING = frozenset(
    "set frozenset list dict tuple bytes bytearray min max sum sorted zip any all "  # noqa: SIM905
    "OrderedDict deque Counter ChainMap UserDict UserList array".split()
)
_CALLING = frozenset(
    "partial iter _reconstructor _load_from_bytes _rebuild_from_type_v2 _reconstruct_array _create_array "  # noqa: SIM905
    "__generator_ctor __newobj__ __newobj_ex__ map filter".split()
)


_MOST_VALUES = 1 << 32
_HUGE_POWER = re.compile(r"[eE][+-]?\d{5}")
_FILE_WRAPPERS = frozenset(("NDArrayWrapper", "ZNDArrayWrapper"))


class Doing(IntEnum):
    """What a call is, as far as its arguments tell."""

    FINE = 0
    UNUSUAL = 1
    LOADING = 2
    """It is given a path, an address, a program or something else to act on."""


def of_allowed(callee: Import, arguments: Value) -> bool:
    """Whether a function or class from the lists is called as picklers call it."""
    given = arguments if isinstance(arguments, tuple) else ()
    first = given[0] if given else None
    match callee.name:
        case "encode":
            return len(given) < 2 or given[1] in _ENCODINGS
        case "_reconstructor":
            return len(given) > 1 and _is_plain_base(given[1], given[2:])
        case "_load_from_bytes":
            return isinstance(first, bytes | Blob)
        case "partial":
            return _is_held(first, given[1:])
        case "iter" | "enumerate" | "reversed":
            return len(given) < (2 if callee.name == "iter" else 3) and not _is_busy(first)
        case _ if callee.name in _ITERATING:
            return not any(_is_busy(value) or _is_huge(value) for value in given)
        case "Fraction":
            return not any(isinstance(value, str) and _HUGE_POWER.search(value) for value in given)
        case "_rebuild_from_type_v2":
            return _is_from(first, "torch._utils", "_rebuild_") and _is_class(given, 1)
        case "_reconstruct_array" | "_create_array":
            return _is_from(first, "numpy", "_reconstruct") or _is_from(first, "numpy", "_frombuffer")
        case "_ufunc_reconstruct":
            return (
                isinstance(first, str)
                and _MODULES_WITH_FUNCTIONS.match(first) is not None
                and _is_word(given, 1)
            )
        case "__generator_ctor":
            return len(given) < 2 or _is_from(given[1], "numpy.random._pickle", "__bit_generator_ctor")
        case "__newobj_ex__" | "__newobj__":
            return isinstance(first, Import) and standing(first.module, first.name) <= Standing.UNKNOWN
    return True


def of_state(callee: Value, state: Value) -> bool:
    """Whether the state of an instance is harmless; a partial can be given another function by it.

    Old wrappers of joblib's name the file that their array is unpickled from.
    """
    if isinstance(callee, Import) and callee.name in _FILE_WRAPPERS and isinstance(state, Made):
        name = state.get("filename")
        return not isinstance(name, str) or not (set(name) & set("/\\:") or name.startswith(("..", "~")))
    if not isinstance(callee, Import) or callee.dotted != "functools.partial" or not isinstance(state, tuple):
        return True
    given = state[1] if len(state) > 1 and isinstance(state[1], tuple) else ()
    return not state or _is_held(state[0], given)


def _is_held(function: Value, given: tuple[Value, ...]) -> bool:
    """Whether a function and its arguments may be kept for whoever calls them later."""
    if not isinstance(function, Import) or function.name in _CALLING:
        return False
    stands = standing(function.module, function.name)
    return stands == Standing.ALLOWED or (
        stands == Standing.INERT and of_class(function, given) < Doing.LOADING
    )


def _is_huge(value: Value) -> bool:
    """Whether going through a value, or making so many, does not end."""
    if isinstance(value, Call) and isinstance(value.callee, Import):
        return value.callee.dotted == "itertools.count"
    return type(value) is int and value > _MOST_VALUES


def _is_busy(value: Value) -> bool:
    """Whether going through a value runs something: an instance of a library's class does what it likes."""
    if not isinstance(value, Call) or not isinstance(value.callee, Import):
        return False
    return standing(value.callee.module, value.callee.name) > Standing.ALLOWED


def of_class(callee: Import, arguments: Value) -> Doing:
    """What the constructor of a library's class may do with those arguments."""
    if callee.module.partition(".")[0] in _CONSTRUCTED:
        return Doing.FINE
    given = arguments if isinstance(arguments, tuple) else (arguments,)
    texts = list(_texts(given))
    if any(_names_something(text) for text in texts) or (texts and _LOADS.search(callee.name)):
        return Doing.LOADING
    if texts and not _ENUM.search(callee.name):
        return Doing.UNUSUAL if len(texts) == len(given) == 1 else Doing.LOADING
    return Doing.UNUSUAL if any(isinstance(value, Blob) for value in given) else Doing.FINE


def _texts(values: tuple[Value, ...]) -> list[str]:
    """The texts that stand directly in the arguments, or in a list or tuple of them."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str | bytes):
            found.append(value if isinstance(value, str) else value.decode("latin-1"))
        elif isinstance(value, Made) and value.kind == "list":
            found += [item for item in value.items if isinstance(item, str)]
        elif isinstance(value, tuple):
            found += [item for item in value if isinstance(item, str)]
    return found


def _names_something(text: str) -> bool:
    """Whether it could be a path, an address, a repository, a command or code."""
    return not _WORD.match(text) or _FILE.search(text) is not None


def _is_from(value: Value, module: str, name: str) -> bool:
    return (
        isinstance(value, Import)
        and (value.module == module or value.module.startswith(module + "."))
        and value.name.startswith(name)
    )


def _is_class(given: tuple[Value, ...], place: int) -> bool:
    value = given[place] if len(given) > place else None
    return isinstance(value, Import) and standing(value.module, value.name) <= Standing.UNKNOWN


def _is_word(given: tuple[Value, ...], place: int) -> bool:
    value = given[place] if len(given) > place else None
    return isinstance(value, str) and value.isidentifier() and not value.startswith("_")


def _is_plain_base(base: Value, state: tuple[Value, ...]) -> bool:
    """Whether the base class makes nothing but a value of the state that it is given."""
    if not isinstance(base, Import):
        return False
    stands = standing(base.module, base.name)
    return (
        base.name in _PLAIN_BASES
        or stands == Standing.ALLOWED
        or (stands == Standing.INERT and of_class(base, state) == Doing.FINE)
    )
