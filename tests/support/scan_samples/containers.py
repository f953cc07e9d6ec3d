"""Archives and compressed streams, plain ones and those made to be read in two ways."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib

import lz4.frame

from support.pickled import EVIL, zipped
from support.scan_samples.seven_zip import seven_zipped


def tarred(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def torch_zip(data: bytes, storages: int = 1, **others: bytes) -> bytes:
    """An archive as torch.save writes it."""
    members = {"archive/data.pkl": data, "archive/byteorder": b"little"}
    members |= {f"archive/data/{n}": bytes(256) for n in range(storages)}
    members |= {f"archive/{name.replace('__', '/')}": content for name, content in others.items()}
    return zipped({**members, "archive/version": b"3\n"})


def with_flags(archive: bytes, flags: int, *, local: bool = True, central: bool = True) -> bytes:
    """The first member's flag bits, set where asked."""
    out = bytearray(archive)
    if local:
        struct.pack_into("<H", out, archive.index(b"PK\x03\x04") + 6, flags)
    if central:
        struct.pack_into("<H", out, archive.index(b"PK\x01\x02") + 8, flags)
    return bytes(out)


def nested(levels: int, data: bytes) -> bytes:
    for level in range(levels):
        data = zipped({f"level{level}.zip" if level else "inner.pkl": data}, zipfile.ZIP_DEFLATED)
    return data


GOOD = pickle.dumps({"a": 1}, 2)
_HTML = b"<!DOCTYPE html><html><body><h1>503 Service Temporarily Unavailable</h1></body></html>\n"
_MANIFEST = b'{"model": {"modelName": "m", "serializedFile": "model.pt", "handler": "handler.py"}}'
_HANDLER = b"import os\n\n\ndef handle(data, context):\n    os.system('true')\n    return data\n"

MALICIOUS: dict[str, bytes] = {
    "bomb_100mb.zip": zipped({"zeros.bin": bytes(100_000_000)}, zipfile.ZIP_DEFLATED),
    "evil.7z": seven_zipped({"model.pkl": EVIL}),
    "evil.mar": zipped(
        {"MAR-INF/MANIFEST.json": _MANIFEST, "model.pt": torch_zip(EVIL), "handler.py": _HANDLER}
    ),
    "evil_7z_as.pt": seven_zipped({"data.pkl": EVIL}),
    "evil_7z_noext.7z": seven_zipped({"weights": EVIL}),
    "evil_targz.tar.gz": gzip.compress(tarred({"model.pkl": EVIL}), mtime=0),
    "nested_zip4.zip": nested(4, EVIL),
    "polyglot_pickle_then_zip.pt": EVIL + torch_zip(GOOD),
    "polyglot_zip_then_pickle.pt": torch_zip(GOOD) + EVIL,
    "slip.tar": tarred({"../../etc/cron.d/x": b"# nothing\n"}),
    "slip_symlink.tar": tarred({"link/x": b"nothing\n"}, {"link": "/tmp"}),
    "model.pkl.lz4": lz4.frame.compress(EVIL),
    "wrap.pkl.gz": gzip.compress(EVIL, mtime=0),
    "wrap.pkl.lzma": lzma.compress(EVIL, lzma.FORMAT_ALONE),
    "wrap.pkl.xz": lzma.compress(EVIL),
    "wrap.pkl.bz2": bz2.compress(EVIL),
    "wrap_gz_noext": gzip.compress(EVIL, mtime=0),
    "wrap_lz4.joblib": lz4.frame.compress(EVIL),
    "wrap_zlib.joblib": zlib.compress(EVIL),
    "torch_zip_constants.pt": torch_zip(GOOD, **{"constants.pkl": EVIL}),
    "torch_zip_evil_p2.bin": torch_zip(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."),
    "torch_zip_flag_encrypted.pt": with_flags(torch_zip(EVIL), 1),
    "torch_zip_prefixjunk.pt": b"junk before it" + torch_zip(EVIL),
}

SUSPECTS: dict[str, bytes] = {
    "html_as.bin": _HTML,
    "torch_zip_protoless_member.pt": torch_zip(GOOD, extra__thing=b"cposix\nsystem\n(S'true'\ntR."),
}

BENIGN: dict[str, bytes] = {
    "ok.7z": seven_zipped({"readme.txt": b"hello " * 40}),
    "ok.tar": tarred({"config.json": b"{}", "readme.txt": b"hello\n"}),
    "wds.tar": tarred({f"{n:06}.{kind}": bytes(700) for n in range(6) for kind in ("jpg", "cls")}),
    "data.jsonl.gz": gzip.compress(b'{"text": "hello", "label": 1}\n' * 200, mtime=0),
}
