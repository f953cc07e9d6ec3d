"""Both ways to cut and to decode."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from moongate.xet import compiled


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "wasmtime", None)
    else:
        pytest.importorskip("wasmtime")
    compiled.forget_all()
    yield request.param
    compiled.forget_all()
