"""The names that a pickle may mention; each stays a name, which is never looked up, imported or called.

A name outside these is an error, so that a file that wants something run is refused with a sentence that tells what.
"""

from __future__ import annotations

_NUMPY = ("numpy.core", "numpy._core")
_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    *("complex128", "complex64", "complex32", "qint32", "qint8", "quint8"),
)
_BUILTINS = ("dict", "list", "tuple", "frozenset", "int", "float", "complex", "str", "bytes", "bytearray")
STORAGES = frozenset(
    ("torch", f"{kind}Storage")
    for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
)
TENSOR_NAMES = STORAGES | {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
}
"""Names in files of torch.save."""
SIDE_NAMES = frozenset(
    {
        ("torch", "device"),
        ("torch.torch_version", "TorchVersion"),
        *(("torch", name) for name in _DTYPES),
        *(("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(("pathlib", name) for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
        *(("pathlib._local", name) for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
        *(("collections", name) for name in ("defaultdict", "deque", "Counter")),
        ("easydict", "EasyDict"),
        ("types", "SimpleNamespace"),
        *((module, name) for module in ("builtins", "__builtin__") for name in _BUILTINS),
    }
)
"""Names that nobody here looks at, in the values beside a network: its training's settings, dates and folders."""
PLAIN_NAMES = (
    TENSOR_NAMES
    | SIDE_NAMES
    | {
        ("builtins", "set"),
        ("__builtin__", "set"),
        ("_codecs", "encode"),
        ("argparse", "Namespace"),
        ("dnnlib.util", "EasyDict"),
        ("dnnlib.tflib.network", "Network"),
        ("tfutil", "Network"),
        ("network", "Network"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"{package}.multiarray", name) for package in _NUMPY for name in ("scalar", "_reconstruct")),
        *((f"{package}.numeric", "_frombuffer") for package in _NUMPY),
        ("torch.storage", "_load_from_bytes"),
        ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    }
)
"""All names in checkpoints of the known dialects, and in the settings that people keep beside them."""
