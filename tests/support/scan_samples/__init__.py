"""Samples for the scanner, made when they are asked for and never kept: evil ones with arguments that do nothing.

Keyed as the development corpus calls them, where it does. What has not been seen in it stands in the tests.
"""

from __future__ import annotations

from support.scan_samples import containers, documents, ecosystem, fickling_suite, graphs, headers, pickles

MALICIOUS: dict[str, bytes] = {
    **{name: data for name, data in pickles.STRUCTURES.items() if name not in pickles.SUSPECTS},
    **containers.MALICIOUS,
    **headers.MALICIOUS,
    **graphs.MALICIOUS,
    **documents.MALICIOUS,
}
SUSPECTS: dict[str, bytes] = {
    **{name: pickles.STRUCTURES[name] for name in pickles.SUSPECTS},
    **containers.SUSPECTS,
    **headers.SUSPECTS,
    **documents.SUSPECTS,
}
BENIGN: dict[str, bytes] = {
    **pickles.BENIGN,
    **containers.BENIGN,
    **headers.BENIGN,
    **graphs.BENIGN,
    **documents.BENIGN,
    **ecosystem.BENIGN,
}
FROM_TESTS = fickling_suite.SAMPLES
