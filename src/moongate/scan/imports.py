"""What a pickle may import: allow-lists, never lists of what is forbidden.

An import is weighed by where it comes from. Of the standard library only what `allowed.STANDARD` names may
pass. Of libraries that models are made with, `allowed.FUNCTIONS` names the functions, and classes pass by
their capital letter where the library's classes do nothing when they are made. What remains is unknown, or
refused where it is a function that would be called. A name with a dot reaches through attributes and is
always refused.
"""

from __future__ import annotations

import re
from enum import IntEnum

from moongate.scan.allowed import FUNCTIONS, STANDARD
from moongate.scan.libraries import BUSY_NAME, BUSY_PARTS, MODEL_LIBRARIES, STANDARD_MODULES, TOOLS

_WORD = re.compile(r"[^\W\d]\w*\Z")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")


class Standing(IntEnum):
    """What is known of an import."""

    ALLOWED = 0
    """It may be imported, and called."""
    INERT = 1
    """A class whose instances may be made without its constructor, and referred to."""
    UNKNOWN = 2
    """A class of a library that nobody here knows."""
    UNKNOWN_FUNCTION = 3
    REFUSED = 4


def is_importable_name(module: str, name: str) -> bool:
    """Whether both are words that a pickle of a known library could hold; for telling pickles from noise."""
    return module.partition(".")[0] in STANDARD_MODULES | MODEL_LIBRARIES | TOOLS and bool(
        _MODULE.match(module) and _MODULE.match(name)
    )


def is_model_library(module: str) -> bool:
    """Whether the module belongs to a library whose classes are known to be inert unless told otherwise."""
    return module.partition(".")[0] in MODEL_LIBRARIES


def standing(module: str, name: str) -> Standing:
    """How an import stands, whatever is done with it."""
    if not _MODULE.match(module) or not _WORD.match(name):
        return Standing.REFUSED
    listed = STANDARD.get(module) or FUNCTIONS.get(module)
    if listed is not None and name in listed:
        return Standing.ALLOWED
    top, *parts = module.split(".")
    if top in STANDARD_MODULES or top in TOOLS or module.startswith("joblib.externals"):
        return Standing.REFUSED
    is_class = name.lstrip("_")[:1].isupper()
    if top in MODEL_LIBRARIES:
        if not is_class:
            return Standing.ALLOWED if _is_maker(top, module, name) else Standing.REFUSED
        return Standing.UNKNOWN if _is_busy(parts, name) else Standing.INERT
    return Standing.UNKNOWN if is_class else Standing.UNKNOWN_FUNCTION


def _is_maker(top: str, module: str, name: str) -> bool:
    """`__pyx_unpickle_CyHalfBinomialLoss`: Cython makes an instance of its own class, as NEWOBJ would.

    scipy's distributions are classes with small letters, `norm_gen` and `rv_continuous_frozen`.
    """
    if module.startswith("scipy.stats."):
        return name.endswith(("_gen", "_frozen"))
    return top in {"sklearn", "scipy", "pandas", "numpy", "statsmodels"} and name.startswith(
        "__pyx_unpickle_"
    )


def _is_busy(parts: list[str], name: str) -> bool:
    return any(part in BUSY_PARTS for part in parts) or BUSY_NAME.search(name) is not None
