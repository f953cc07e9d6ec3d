"""A repository as a file system: listings, globs, seeks and ranged reads."""

from __future__ import annotations

import hashlib

from huggingface_hub import HfFileSystem
from plain import PLAN, outcome, tell

fs = HfFileSystem(token=PLAN.get("token") or False)
LARGE = "acme/tiny/model.safetensors"
answers: dict[str, object] = {}


def ask(name: str, call: object) -> None:
    answers[name] = outcome(call)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jumps(block_size: int | None) -> list[str]:
    pieces = []
    with fs.open(LARGE, "rb", block_size=block_size) as stream:
        for position, length in ((0, 10), (2_000_000, 4096), (1_000_000, 70_000), (3_145_740, 100)):
            stream.seek(position)
            pieces.append(digest(stream.read(length)))
        stream.seek(-5, 2)
        pieces.append(digest(stream.read()))
    return pieces


def streamed() -> str:
    seen = hashlib.sha256()
    with fs.open(LARGE, "rb", block_size=0) as stream:
        while piece := stream.read(500_000):
            seen.update(piece)
    return seen.hexdigest()


ask("ls", lambda: sorted(fs.ls("acme/tiny", detail=False)))
ask("ls detail", lambda: {entry["name"]: [entry["type"], entry["size"]] for entry in fs.ls("acme/tiny")})
ask("ls revision", lambda: sorted(fs.ls("acme/tiny@v1.0", detail=False)))
ask("ls pr", lambda: sorted(fs.ls("acme/tiny@refs/pr/1", detail=False)))
ask("ls dataset", lambda: sorted(fs.ls("datasets/acme/rows", detail=False)))
ask("ls space", lambda: sorted(fs.ls("spaces/acme/demo/assets", detail=False)))
ask("ls odd", lambda: sorted(fs.ls("acme/Odd_Names.v1-2/sub dir", detail=False)))
ask("glob", lambda: sorted(fs.glob("acme/tiny/**/*.json")))
ask("glob many", lambda: len(fs.glob("datasets/acme/many/part0*/*.txt")))
ask("find", lambda: sorted(fs.find("acme/pipeline")))
ask("walk", lambda: [[where, sorted(names)] for where, _, names in fs.walk("acme/pipeline")])
ask("info", lambda: {key: fs.info(LARGE)[key] for key in ("name", "size", "type")})
ask("exists", lambda: [fs.exists(name) for name in (LARGE, "acme/tiny/absent", "acme/absent/config.json")])
ask("isdir", lambda: [fs.isdir(name) for name in ("acme/tiny/onnx", LARGE)])
ask("du", lambda: fs.du("acme/pipeline"))
ask("cat", lambda: digest(fs.cat_file("acme/tiny/config.json")))
ask("cat range", lambda: digest(fs.cat_file(LARGE, start=1_234_567, end=1_300_001)))
ask("cat odd", lambda: [digest(fs.cat_file(f"acme/Odd_Names.v1-2/{name}")) for name in PLAN["odd_names"]])
ask("text", lambda: fs.read_text("datasets/acme/rows/test.jsonl"))
ask("jumps", lambda: jumps(None))
ask("small blocks", lambda: jumps(64 << 10))
ask("streamed", streamed)
ask("read whole", lambda: digest(fs.read_bytes(LARGE)))
ask("absent", lambda: fs.read_bytes("acme/tiny/absent.bin"))
tell(answers)
