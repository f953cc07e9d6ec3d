"""Bytes that mean nothing are not taken for what they look like in places."""

from __future__ import annotations

import random

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held

ESCAPE = b"{{ g.__class__ }} {% set x = ''|attr('\\x5f\\x5fclass') %}"


@pytest.mark.parametrize("seed", range(5))
def test_braces_in_raw_weights_are_no_template(seed: int) -> None:
    """Also where the weights begin like a text."""
    noise = random.Random(seed).randbytes(200_000)
    content = b"265862596" * 2000 + noise[:100_000] + ESCAPE + noise[100_000:]
    assert judge(Held(content), "weights.bin").verdict == "clean"


def test_a_text_with_a_few_broken_letters_is_one_still() -> None:
    words = b"once upon a time " * 200
    assert judge(Held(words + b"\xff\xfe\xfd" + ESCAPE + words), "story").verdict == "dangerous"
