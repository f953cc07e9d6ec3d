"""What a finding means: one row a rule, with why it matters and what to do now.

`RULES` is the version of the judgement: it changes whenever a row, an allow-list or a check changes what a
scan says, so that stored verdicts can be told to be old. `ENGINE` is the version of the readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from moongate.core.verdicts import Severity

ENGINE: Final = "moongate-scan/1"
RULES: Final = "2026.11.29.4"

Effect: TypeAlias = Literal["found", "unscanned", "failed"]
"""`unscanned` and `failed` rules say that something was not looked at; never clean."""

_REFUSE = "Do not load it. Ask the author for safetensors, or another file without code."
_REVIEW = "Have someone who knows the format look at it before it is loaded."
_AGAIN = "Scan it where there is more time and memory, or treat it as dangerous."


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    severity: Severity
    why: str
    advice: str = _REVIEW
    effect: Effect = "found"


_S = Severity

TABLE: Final[dict[str, Rule]] = {
    "pickle-call": Rule(_S.CRITICAL, "Loading the file calls this function.", _REFUSE),
    "pickle-import": Rule(
        _S.CRITICAL, "Loading the file imports this; it is on no list of what models need.", _REFUSE
    ),
    "pickle-import-unknown": Rule(
        _S.MEDIUM, "Loading the file imports and makes this; nobody here knows what it does."
    ),
    "pickle-call-unknown": Rule(_S.HIGH, "Loading the file calls a function that is on no list.", _REFUSE),
    "pickle-constructor": Rule(
        _S.MEDIUM, "Loading the file runs the constructor of this class, which is on no list."
    ),
    "pickle-name": Rule(
        _S.CRITICAL, "What would be imported is worked out while loading, which hides it.", _REFUSE
    ),
    "pickle-extension": Rule(
        _S.HIGH, "An extension code hides what would be imported.", _REFUSE
    ),
    "pickle-build": Rule(_S.CRITICAL, "Loading the file changes an imported thing itself.", _REFUSE),
    "pickle-frame": Rule(
        _S.HIGH, "No pickler writes such frames; unpicklers disagree about what they mean.", _REFUSE
    ),
    "pickle-persistent": Rule(_S.MEDIUM, "The loader is asked for an object outside the file."),
    "pickle-nested": Rule(
        _S.MEDIUM, "A pickle that would run code lies in the file as data; something else may load it."
    ),
    "pickle-broken": Rule(
        _S.MEDIUM, "It begins as a pickle and breaks; what runs before the break has run.", effect="failed"
    ),
    "pickle-too-long": Rule(_S.MEDIUM, "The pickle is longer than we follow.", _AGAIN, "unscanned"),
    "pickle-growth": Rule(_S.MEDIUM, "Small data grows without bound when it is printed or copied."),
    "archive-structure": Rule(
        _S.HIGH, "Readers of archives disagree about this file: one sees what others do not.", _REFUSE
    ),
    "archive-oddity": Rule(_S.MEDIUM, "No common tool writes archives like this."),
    "archive-slip": Rule(_S.HIGH, "Unpacking it writes outside the folder it is unpacked to.", _REFUSE),
    "archive-bomb": Rule(_S.HIGH, "Unpacking it fills memory or disk.", _REFUSE),
    "archive-encrypted": Rule(
        _S.MEDIUM, "Its content cannot be looked at without the password.", effect="unscanned"
    ),
    "archive-unreadable": Rule(_S.MEDIUM, "A part of the archive could not be read.", _AGAIN, "unscanned"),
    "too-deep": Rule(_S.MEDIUM, "Archives are nested deeper than we follow.", _AGAIN, "unscanned"),
    "too-large": Rule(_S.MEDIUM, "There is more in it than we look at.", _AGAIN, "unscanned"),
    "native-code": Rule(_S.HIGH, "It is a program for the machine, whatever it is named.", _REFUSE),
    "native-library": Rule(_S.MEDIUM, "It is a program or library for the machine."),
    "content-mismatch": Rule(
        _S.MEDIUM, "The content is not what the name says: an error page or a pointer, perhaps.",
        "Fetch it again.",
    ),
    "header-lies": Rule(
        _S.HIGH, "The header contradicts itself or the file; readers of it overflow.", _REFUSE
    ),
    "header-code": Rule(_S.MEDIUM, "There is code, a command or an address in the notes of the header."),
    "template-escape": Rule(
        _S.HIGH, "Rendering the template reaches out of it, into the program that renders it.", _REFUSE
    ),
    "template-unknown": Rule(_S.LOW, "The template does something that templates of conversations "
    "rarely do."),
    "keras-code": Rule(_S.CRITICAL, "Loading the model runs code, or imports what the file names.", _REFUSE),
    "keras-file": Rule(_S.HIGH, "Loading the model reads a file of the machine it is loaded on.", _REFUSE),
    "graph-operation": Rule(
        _S.HIGH, "Running the model reads or writes files, or calls Python or a program.", _REFUSE
    ),
    "graph-unknown": Rule(_S.MEDIUM, "The operation needs a library that nobody here knows."),
    "outside-file": Rule(_S.HIGH, "Loading the model reads a file outside its own folder.", _REFUSE),
    "malware": Rule(_S.CRITICAL, "It is known.", _REFUSE),
    "foreign-objects": Rule(
        _S.MEDIUM, "Loading it makes objects of another language, which is not read here.", effect="unscanned"
    ),
    "yaml-object": Rule(_S.CRITICAL, "Parsers of YAML make or call this.", _REFUSE),
    "active-content": Rule(_S.MEDIUM, "Showing it runs a script."),
    "xml-entity": Rule(_S.HIGH, "Parsers of XML read other files, or grow without bound, for it.", _REFUSE),
    "document-growth": Rule(
        _S.HIGH, "A few lines refer to one another so that parsers fill memory.", _REFUSE
    ),
    "schema-type": Rule(_S.HIGH, "Loading what the file describes makes or calls this.", _REFUSE),
    "schema-unknown": Rule(_S.LOW, "The file holds this; skops asks for trust before it makes it."),
    "remote-code": Rule(_S.MEDIUM, "With trust_remote_code, clients run Python from the repository."),
    "config-code": Rule(_S.MEDIUM, "There is code, a command or an address where a configuration should be."),
    "code-runs": Rule(_S.HIGH, "The source starts programs or runs text as code.", _REFUSE),
    "code-hides": Rule(_S.HIGH, "The source hides what it runs.", _REFUSE),
    "code-unpickles": Rule(_S.MEDIUM, "The source unpickles; what, only its callers know."),
    "code-exfiltrates": Rule(_S.HIGH, "The source takes what it should not and sends something.", _REFUSE),
    "shell-fetch-and-run": Rule(_S.HIGH, "It fetches a program and runs it unseen.", _REFUSE),
    "image-fetches": Rule(_S.MEDIUM, "What is fetched while building may change."),
    "requirement-index": Rule(_S.HIGH, "Packages come from a host that is no known index.", _REFUSE),
    "requirement-bad": Rule(_S.CRITICAL, "The package is malware.", _REFUSE),
    "requirement-typo": Rule(_S.HIGH, "The name is that of a popular package, mistyped.", _REFUSE),
    "requirement-foreign": Rule(_S.LOW, "The package comes from an address, not from an index."),
    "secret": Rule(_S.MEDIUM, "A secret in a repository is known to all its readers.", "Revoke it."),
    "hidden-text": Rule(_S.LOW, "People do not see what models and programs read there."),
    "prompt-injection": Rule(_S.LOW, "A model that reads the text may follow it."),
    "voice": Rule(_S.MEDIUM, "Another scanner calls it dangerous; ours does not know why."),
    "voice-failed": Rule(_S.LOW, "Another scanner said nothing of the file."),
    "yara-match": Rule(_S.HIGH, "It matches a rule that your organisation keeps.", _REFUSE),
    "virus": Rule(_S.CRITICAL, "A scanner for viruses knows it.", _REFUSE),
    "not-here": Rule(
        _S.MEDIUM, "It could not be opened, or only a part of it is kept here.", "Pull it, then scan again.",
        "unscanned",
    ),
    "scan-failed": Rule(_S.MEDIUM, "The scanner did not finish: it crashed or ran out of time or memory.",
                        _AGAIN, "failed"),
}  # fmt: skip
