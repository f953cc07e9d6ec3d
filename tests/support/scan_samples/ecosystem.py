"""Files as common libraries save them, written by their operations, for the libraries are not here."""

from __future__ import annotations

import io
import random
import struct
import zlib

import lz4.frame
import numpy as np

from support.pickled import text
from support.scan_samples.assembly import made, names, plain
from support.scan_samples.containers import torch_zip


def _storage(kind: str, count: int, key: int = 0) -> bytes:
    """A tensor of torch's: its storage is asked of the loader."""
    identity = b"(" + text("storage") + names("torch", kind) + text(str(key)) + text("cpu") + b"M"
    identity += struct.pack("<H", count) + b"tQ"
    rebuilt = names("torch._utils", "_rebuild_tensor_v2")
    hooks = names("collections", "OrderedDict") + b")R"
    return (
        rebuilt
        + b"("
        + identity
        + b"K\x00"
        + b"M"
        + struct.pack("<H", count)
        + b"\x85K\x01\x85\x89"
        + hooks
        + b"tR"
    )


def state_dict(kind: str, tensors: int = 8, protocol: bytes = b"\x80\x02") -> bytes:
    body = b"".join(text(f"layer.{n}.weight") + _storage(kind, 64, n) for n in range(tensors))
    return protocol + names("collections", "OrderedDict") + b")R(" + body + b"u."


def _args() -> bytes:
    """transformers' TrainingArguments, and what it refers to."""
    state = b"}(" + b"".join(
        (
            text("output_dir") + text("out"),
            text("learning_rate") + b"G" + struct.pack(">d", 5e-5),
            text("evaluation_strategy") + names("transformers.trainer_utils", "IntervalStrategy") + text("no") + b"\x85R",
            text("hub_strategy") + names("transformers.trainer_utils", "HubStrategy") + text("every_save") + b"\x85R",
            text("optim") + names("transformers.training_args", "OptimizerNames") + text("adamw_torch") + b"\x85R",
            text("lr_scheduler_type") + names("transformers.trainer_utils", "SchedulerType") + text("linear") + b"\x85R",
            text("distributed_state") + names("accelerate.state", "PartialState") + b")\x81}b",
            text("device") + names("torch", "device") + text("cuda") + b"K\x00\x86R",
            text("accelerator_config") + names("transformers.trainer_pt_utils", "AcceleratorConfig") + b")\x81}b",
            text("deepspeed_plugin") + b"N",
        )
    ) + b"u"  # fmt: skip
    return b"\x80\x02" + names("transformers.training_args", "TrainingArguments") + b")\x81" + state + b"b."


def _lightning() -> bytes:
    config = names("omegaconf.dictconfig", "DictConfig") + b")\x81}(" + text("_metadata")
    config += names("omegaconf.base", "ContainerMetadata") + b")\x81}" + text("ref_type")
    config += names("typing", "Any") + b"sb" + text("_content") + names("collections", "defaultdict")
    config += names("builtins", "dict") + b"\x85R" + b"ub"
    return (
        b"\x80\x02}(" + text("epoch") + b"K\x03" + text("state_dict") + state_dict("FloatStorage")[2:-1]
        + text("hyper_parameters") + config + text("callbacks") + b"}"
        + names("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") + b"}su."
    )  # fmt: skip


def _fairseq() -> bytes:
    args = names("argparse", "Namespace") + b")\x81}" + text("arch") + text("transformer") + b"sb"
    return b"\x80\x02}(" + text("args") + args + text("model") + state_dict("HalfStorage")[2:-1] + b"u."


def _legacy() -> bytes:
    """Torch's container before archives: pickles one after the other, then storages."""
    sysinfo = b"\x80\x02}" + text("little_endian") + b"\x88s."
    model = state_dict("FloatStorage", 1).replace(b"tQ", b"NtQ", 1)
    keys = b"\x80\x02]" + text("0") + b"a."
    storage = struct.pack("<Q", 64) + bytes(256)
    return b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + sysinfo + model + keys + storage


def _joblib(protocol: int = 4) -> bytes:
    """A forest with one tree, its array between operations as joblib lays it."""
    dtype = (
        names("numpy", "dtype")
        + text("f8")
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    wrapper = names("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}(" + text("subclass")
    wrapper += names("numpy", "ndarray") + text("shape") + b"K\x04\x85" + text("order") + text("C")
    wrapper += (
        text("dtype")
        + dtype
        + text("allow_mmap")
        + b"\x88"
        + text("numpy_array_alignment_bytes")
        + b"K\x10ub"
    )
    wrapper += b"\x03\xff\xff\xff" + np.arange(4, dtype="<f8").tobytes()
    tree = (
        names("sklearn.tree._classes", "DecisionTreeClassifier")
        + b")\x81}"
        + text("values")
        + wrapper
        + b"sb"
    )
    forest = (
        names("sklearn.ensemble._forest", "RandomForestClassifier")
        + b")\x81}("
        + text("estimators_")
        + b"]("
        + tree
        + b"eub"
    )
    return bytes((0x80, protocol)) + forest + b"."


def _pipeline() -> bytes:
    step = (
        names("sklearn.preprocessing._function_transformer", "FunctionTransformer") + b")\x81}" + text("func")
    )
    step += names("numpy", "log1p") + b"sb"
    scaler = (
        names("sklearn.preprocessing._data", "StandardScaler") + b")\x81}" + text("with_mean") + b"\x88sb"
    )
    return (
        b"\x80\x04" + names("sklearn.pipeline", "Pipeline") + b")\x81}" + text("steps") + b"](" + text("log") + step
        + b"\x86" + text("scale") + scaler + b"\x86esb."
    )  # fmt: skip


def _events() -> bytes:
    """TensorBoard's records: length, its checksum, data, its checksum."""
    record = b"\x09\x00\x00\x80\x3f\x9a\xd9\xd9A\x1a\x0dbrain.Event:2"
    return (struct.pack("<Q", len(record)) + b"\x12\x34\x56\x78" + record + b"\x9a\xbc\xde\xf0") * 12


def _parquet() -> bytes:
    footer = b"\x15\x02\x19\x2c" + b"schema\x00text\x00label" + bytes(200)
    return b"PAR1" + bytes(2300) + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _optimizer() -> bytes:
    body = b"\x80\x02}(" + text("state") + b"}K\x00}" + text("exp_avg") + _storage("FloatStorage", 16) + b"ss"
    return body + text("param_groups") + plain([{"lr": 0.001, "betas": (0.9, 0.999)}]) + b"u."


def _rng() -> bytes:
    array = (
        names("numpy.core.multiarray", "_reconstruct") + names("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
    )
    return (
        b"\x80\x02}("
        + text("python")
        + plain((3, (1, 2, 3), None))
        + text("numpy")
        + text("MT19937")
        + array
        + b"\x86"
        + (text("cpu") + _storage("ByteStorage", 64) + b"u.")
    )


def _noise() -> bytes:
    return random.Random(11).randbytes(10_000_000)


BENIGN: dict[str, bytes] = {
    "data.parquet": _parquet(),
    "events.out.tfevents.1": _events(),
    "fairseq.pt": torch_zip(_fairseq(), 8),
    "lightning.ckpt": torch_zip(_lightning(), 8),
    "optimizer.pt": torch_zip(_optimizer()),
    "random_10mb.bin": _noise(),
    "rng_state.pth": torch_zip(_rng()),
    "sk_pipe.joblib": _pipeline(),
    "sk_rf_lz4.joblib": lz4.frame.compress(_joblib()),
    "sk_rf_z.joblib": zlib.compress(_joblib()),
    "torch_bf16.pt": torch_zip(state_dict("BFloat16Storage"), 8),
    "torch_half.pt": torch_zip(state_dict("HalfStorage"), 8),
    "torch_int8.pt": torch_zip(state_dict("CharStorage"), 8),
    "torch_legacy.pt": _legacy(),
    "torch_p4.pth": torch_zip(state_dict("FloatStorage", protocol=b"\x80\x04"), 8),
    "training_args.bin": torch_zip(_args()),
    "pandas_df.pkl.gz": b"",
    "fastai.pkl": made("fastai.learner", "Learner", {"name": "x"}),
}


def _gzipped() -> bytes:
    import gzip

    from support.scan_samples.pickles import BENIGN as PICKLES

    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as file:
        file.write(PICKLES["pandas_df.pkl"])
    return out.getvalue()


BENIGN["pandas_df.pkl.gz"] = _gzipped()
