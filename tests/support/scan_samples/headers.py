"""Files of tensors: safetensors, GGUF, numpy; and programs and pages under their names."""

from __future__ import annotations

import io
import json
import pickle
import struct

import numpy as np

from support.pickled import EVIL, zipped

_STRING, _UINT32, _ARRAY = 8, 4, 9


def safetensors(header: str | bytes, data: bytes = b"", claimed: int | None = None) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if claimed is None else claimed) + raw + data


def tensor(start: int, end: int, dtype: str = "F32", shape: list[int] | None = None) -> dict[str, object]:
    shape = [(end - start) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def gguf(
    pairs: dict[str, object], *, claimed_pairs: int | None = None, tensors: bytes = b"", count: int = 0
) -> bytes:
    """A header of version 3; values are texts, numbers, or (type, raw)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, count, len(pairs) if claimed_pairs is None else claimed_pairs)
    for key, value in pairs.items():
        out += struct.pack("<Q", len(key)) + key.encode()
        match value:
            case str():
                raw = value.encode()
                out += struct.pack("<IQ", _STRING, len(raw)) + raw
            case int():
                out += struct.pack("<II", _UINT32, value)
            case (kind, raw):
                out += struct.pack("<I", kind) + raw
    return out + tensors


def objects(data: bytes) -> bytes:
    """An array of numpy's that holds objects, whose pickle is `data`."""
    out = io.BytesIO()
    np.save(out, np.array([None], dtype=object), allow_pickle=True)
    whole = out.getvalue()
    return whole[: whole.index(b"\n") + 1] + data


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, a=np.arange(10), b=np.ones((2, 2)))
    return out.getvalue()


def _long_header() -> bytes:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }" + " " * 69_920 + "\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header.encode() + bytes(4)


ESCAPES = {
    "gguf_ssti_1.gguf": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "gguf_ssti_2.gguf": "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "gguf_ssti_3.gguf": "{% for x in ().__class__.__base__.__subclasses__() %}{{ x.__name__ }}{% endfor %}",
    "gguf_ssti_4.gguf": "{{ (messages|attr('\\x5f\\x5fclass\\x5f\\x5f'))|attr('\\x5f\\x5fmro\\x5f\\x5f') }}",
}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_DIMENSIONS = struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0)
_TENSORS = json.dumps({"a": tensor(0, 16), "b": tensor(16, 32)})

MALICIOUS: dict[str, bytes] = {
    "elf_as.gguf": b"\x7fELF\x02\x01\x01" + bytes(57),
    "mz_as.safetensors": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\x00\x00" + bytes(64),
    "gguf_kv_overflow.gguf": gguf({"general.architecture": "llama"}, claimed_pairs=1 << 62),
    **{
        name: gguf({"general.architecture": "llama", "tokenizer.chat_template": bad})
        for name, bad in ESCAPES.items()
    },
    "gguf_strlen_overflow.gguf": gguf({"general.name": (_STRING, struct.pack("<Q", 1 << 63))}),
    "gguf_tensor_overflow.gguf": gguf({"general.architecture": "llama"}, tensors=_DIMENSIONS, count=1),
    "st_dup_keys.safetensors": safetensors(
        '{"a":' + json.dumps(tensor(0, 4)) + ',"a":' + json.dumps(tensor(0, 4)) + "}", bytes(4)
    ),
    "st_header_huge.safetensors": safetensors(_TENSORS[:72], claimed=200_000_000),
    "st_oob.safetensors": safetensors(json.dumps({"a": tensor(0, 4096)}), bytes(16)),
    "st_shape_mismatch.safetensors": safetensors(json.dumps({"a": tensor(0, 16, shape=[999])}), bytes(16)),
    "st_overlap.safetensors": safetensors(json.dumps({"a": tensor(0, 16), "b": tensor(8, 24)}), bytes(24)),
    "st_hole.safetensors": safetensors(json.dumps({"a": tensor(0, 16), "b": tensor(24, 40)}), bytes(40)),
    "evil_object.npy": objects(EVIL),
    "evil_object.npz": zipped({"a.npy": objects(EVIL)}),
}

SUSPECTS: dict[str, bytes] = {
    "gguf_retrieval_traversal.gguf": gguf(
        {"general.architecture": "llama", "general.source.url": "file:///etc/../etc/passwd"}
    ),
    "npy_huge_header.npy": _long_header(),
}

BENIGN: dict[str, bytes] = {
    "arrs.npz": _npz(),
    "chatml.gguf": gguf({"general.architecture": "llama", "llama.context_length": 4096,
                         "tokenizer.chat_template": CHATML}),
    "notpl.gguf": gguf({"general.architecture": "llama", "general.name": "tiny"}),
    "kohya_lora.safetensors": safetensors(
        json.dumps(
            {
                "__metadata__": {
                    "ss_tag_frequency": json.dumps({"train": {"eval(x)": 2, "import": 1, "system": 4}}),
                    "ss_training_comment": "run with os.environ set; exec later; see __init__",
                    "ss_network_args": json.dumps({"conv_dim": "4"}),
                },
                "lora_unet.alpha": tensor(0, 16),
            }
        ),
        bytes(16),
    ),
    "model.safetensors": safetensors(
        json.dumps({"__metadata__": {"format": "pt"}, "a": tensor(0, 8192), "b": tensor(8192, 16384)}), bytes(16384)
    ),
    "obj_benign.npy": objects(pickle.dumps(np.array([{"a": 1}, [1, 2], "x"], dtype=object), 4)),
}  # fmt: skip
