"""The imports that may pass, by module: of the standard library, and the functions of model libraries."""

from __future__ import annotations

from typing import Final

_EXCEPTIONS = (
    "ArithmeticError AssertionError AttributeError BaseException BufferError EOFError Exception "
    "FileNotFoundError FloatingPointError IndexError KeyError LookupError MemoryError NotImplementedError "
    "OSError OverflowError RuntimeError StopIteration TimeoutError TypeError UnicodeDecodeError "
    "UserWarning ValueError Warning ZeroDivisionError FutureWarning DeprecationWarning RuntimeWarning"
)
_BUILTINS = (
    "set frozenset list dict tuple int float complex bool str bytes bytearray slice range object unicode "
    "long xrange NotImplemented Ellipsis len abs min max sum round sorted reversed enumerate zip any all "
    "hash ord chr iter " + _EXCEPTIONS
)

STANDARD: Final[dict[str, frozenset[str]]] = {
    module: frozenset(names.split())
    for module, names in {
        "builtins": _BUILTINS,
        "__builtin__": _BUILTINS,
        "exceptions": _EXCEPTIONS,
        "collections": "OrderedDict defaultdict deque Counter ChainMap UserDict UserList",
        "_collections": "OrderedDict defaultdict deque",
        "copyreg": "_reconstructor __newobj__ __newobj_ex__",
        "copy_reg": "_reconstructor __newobj__",
        "_codecs": "encode",
        "datetime": "datetime date time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "UUID SafeUUID",
        "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
        "pathlib._local": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
        "argparse": "Namespace",
        "types": "SimpleNamespace",
        "enum": "Enum IntEnum Flag IntFlag",
        "array": "_array_reconstructor array",
        "_array": "_array_reconstructor",
        "random": "Random",
        "functools": "partial",
        "itertools": "count",
        "operator": "itemgetter",
        "zoneinfo": "ZoneInfo",
        "ipaddress": "IPv4Address IPv6Address IPv4Network IPv6Network",
        "re": "_compile",
        "UserDict": "UserDict IterableUserDict",
        "UserList": "UserList",
        "typing": "Any Union Optional List Dict Tuple",
    }.items()
}

_UFUNCS = (
    "abs absolute add arccos arcsin arctan cbrt ceil clip cos cosh deg2rad divide exp exp2 expm1 fabs "
    "float_power "
    "floor identity log log10 log1p log2 max maximum mean median min minimum mod multiply negative "
    "power prod "
    "rad2deg reciprocal rint round sign sin sinh sqrt square std subtract sum tan tanh true_divide var "
    "argmax "
    "argmin nanmean nanmax nanmin nanmedian nanstd any all isnan isfinite"
)
_SCALARS = (
    "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 float128 complex64 "
    "complex128 str_ bytes_ object_ void datetime64 timedelta64 longdouble int_ intc uint uintp intp "
    "longlong "
    "ulonglong double single half str0 bytes0 string_ unicode_ generic number integer floating "
    "character ubyte byte"
)
_ARRAYS = "_reconstruct scalar _frombuffer ndarray dtype"
_STORAGES = (
    "FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage "
    "ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage "
    "QInt32Storage "
    "QUInt4x2Storage QUInt2x4Storage UntypedStorage TypedStorage"
)
_TORCH_DTYPES = (
    "float float16 float32 float64 double half bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 "
    "uint64 short int "
    "long bool complex32 complex64 complex128 cfloat cdouble qint8 quint8 qint32 quint4x2 float8_e4m3fn "
    "float8_e5m2 "
    "float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 strided sparse_coo sparse_csr "
    "sparse_csc "
    "sparse_bsr sparse_bsc contiguous_format channels_last channels_last_3d preserve_format "
    "per_tensor_affine "
    "per_channel_affine per_tensor_symmetric per_channel_symmetric"
)
_ACTIVATIONS = (
    "relu gelu silu elu selu celu tanh sigmoid softmax log_softmax leaky_relu mish hardtanh hardswish "
    "softplus "
    "hardsigmoid relu6 glu logsigmoid normalize dropout linear cross_entropy mse_loss l1_loss nll_loss"
)
_PANDAS = "_unpickle_block _new_Index new_block _new_DatetimeIndex _new_PeriodIndex"

FUNCTIONS: Final[dict[str, frozenset[str]]] = {
    module: frozenset(names.split())
    for module, names in {
        "numpy": f"{_ARRAYS} {_SCALARS} {_UFUNCS} matrix recarray record ufunc poly1d",
        "numpy.core.multiarray": f"{_ARRAYS} {_SCALARS}",
        "numpy._core.multiarray": f"{_ARRAYS} {_SCALARS}",
        "numpy.core._internal": "_reconstruct",
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.numeric": "_frombuffer",
        "numpy.core": "_ufunc_reconstruct",
        "numpy._core": "_ufunc_reconstruct",
        "numpy.core._multiarray_umath": "_ufunc_reconstruct scalar _reconstruct",
        "numpy._core._multiarray_umath": "_ufunc_reconstruct scalar _reconstruct " + _UFUNCS,
        "numpy.core.records": "recarray record",
        "numpy.rec": "recarray record",
        "numpy.ma.core": "_mareconstruct MaskedArray",
        "numpy.ma": "MaskedArray",
        "numpy.matrixlib.defmatrix": "matrix",
        "numpy.matrix": "matrix",
        "numpy.dtypes": "",
        "numpy.random": "__RandomState_ctor",
        "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
        "numpy.random.mtrand": "RandomState __randomstate_ctor",
        "numpy.random._mt19937": "MT19937",
        "numpy.random._pcg64": "PCG64 PCG64DXSM",
        "numpy.random._philox": "Philox",
        "numpy.random._sfc64": "SFC64",
        "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
        "numpy.random._bit_generator": "SeedSequence",
        "torch": f"{_STORAGES} {_TORCH_DTYPES} Tensor Size Generator device dtype layout memory_format "
        "BFloat16Tensor FloatTensor DoubleTensor HalfTensor LongTensor IntTensor ByteTensor BoolTensor "
        "ShortTensor "
        f"CharTensor Stream Event {_ACTIVATIONS}",
        "torch.storage": f"{_STORAGES} _load_from_bytes",
        "torch.cuda": " ".join(_STORAGES.split()[:10]) + " FloatTensor HalfTensor DoubleTensor LongTensor",
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor "
        "_rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor "
        "_rebuild_meta_tensor_no_storage "
        "_rebuild_nested_tensor _rebuild_wrapper_subclass _rebuild_xla_tensor",
        "torch._tensor": "_rebuild_from_type_v2 Tensor",
        "torch._C": "_rebuild_from_type_v2",
        "torch.nn.parameter": "Parameter Buffer UninitializedParameter",
        "torch.serialization": "_get_layout",
        "torch.nn.functional": _ACTIVATIONS,
        "torch._C._nn": _ACTIVATIONS,
        "torch.distributed._shard.sharded_tensor.api": "ShardedTensor",
        "torch.jit._pickle": "build_intlist build_tensorlist build_doublelist build_boollist "
        "build_tensor_from_id "
        "restore_type_tag",
        "pandas._libs.internals": "_unpickle_block",
        "pandas.core.internals.blocks": "new_block",
        "pandas.core.indexes.base": "_new_Index",
        "pandas.core.indexes.datetimes": "_new_DatetimeIndex",
        "pandas.core.indexes.period": "_new_PeriodIndex",
        "pandas._libs.tslibs.timestamps": "_unpickle_timestamp",
        "pandas._libs.tslibs.timedeltas": "_timedelta_unpickle",
        "pandas._libs.tslibs.offsets": "_offset_unpickle",
        "pandas._libs.tslibs.nattype": "_nat_unpickle",
        "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
        "pandas._libs.tslibs.dtypes": "__pyx_unpickle_PeriodDtypeBase",
        "scipy.sparse.csr": "csr_matrix csr_array",
        "scipy.sparse._csr": "csr_matrix csr_array",
        "scipy.sparse.csc": "csc_matrix csc_array",
        "scipy.sparse._csc": "csc_matrix csc_array",
        "scipy.sparse.coo": "coo_matrix coo_array",
        "scipy.sparse._coo": "coo_matrix coo_array",
        "scipy.sparse._dia": "dia_matrix",
        "scipy.sparse._lil": "lil_matrix",
        "scipy.sparse._dok": "dok_matrix",
        "scipy.sparse._bsr": "bsr_matrix",
        "scipy.special": "expit logit erf softmax xlogy",
        "scipy.special._ufuncs": "expit logit erf xlogy",
        "sklearn.tree._tree": "Tree",
        "sklearn.neighbors._kd_tree": "newObj KDTree KDTree64 KDTree32",
        "sklearn.neighbors._ball_tree": "newObj BallTree BallTree64 BallTree32",
        "sklearn.neighbors.kd_tree": "newObj KDTree",
        "sklearn.neighbors.ball_tree": "newObj BallTree",
        "sklearn.metrics._dist_metrics": "newObj",
        "sklearn.neighbors._dist_metrics": "newObj",
        "sklearn.neighbors.dist_metrics": "newObj",
        "sklearn.feature_selection._univariate_selection": "f_classif f_regression chi2",
        "sklearn.metrics._scorer": "_passthrough_scorer",
        "sklearn.utils._bunch": "Bunch",
        "joblib.numpy_pickle": "NumpyArrayWrapper",
        "joblib.numpy_pickle_compat": "NDArrayWrapper ZNDArrayWrapper",
        "sklearn.externals.joblib.numpy_pickle": "NumpyArrayWrapper NDArrayWrapper",
        "jax._src.array": "_reconstruct_array",
        "ml_dtypes": "bfloat16 float8_e4m3fn float8_e5m2 int4 uint4",
        "ml_dtypes._ml_dtypes_ext": "bfloat16 float8_e4m3fn float8_e5m2",
        "pyarrow.lib": "type_for_alias _restore_array py_buffer chunked_array",
        "sklearn.cluster._kmeans": "_kmeans_single_lloyd _kmeans_single_elkan",
        "scipy._lib.array_api_compat.numpy._aliases": "asarray astype",
        "dill._dill": "_create_array",
        "PIL.Image": "Image",
    }.items()
}
