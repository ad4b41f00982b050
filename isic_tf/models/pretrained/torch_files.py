"""Reads the tensors of a PyTorch file (`.pth`, `.pt`) without PyTorch, and without executing anything in it.

Such a file is a pickle, whose instructions could call any function. They are read here as data (by `pickletools`), and
the few that build dicts of tensors are carried out on tuples and lists; any other makes the file an error.
"""

import dataclasses
import io
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 8 << 30
# The instructions of a pickle with 100,000 tensors are fewer.
_MAX_INSTRUCTIONS = 10_000_000
_DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(tf.bfloat16.as_numpy_dtype),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED_DICT = "collections OrderedDict"
_GLOBALS = {*_DTYPES, _REBUILD_TENSOR, _REBUILD_PARAMETER, _ORDERED_DICT}
# Keys under which a training checkpoint holds the weights.
_NESTED = ("state_dict", "model", "model_state_dict")
_MARK = object()


class _FormatError(Exception):
    """What is wrong with a file, in words that complete "...: PATH"."""


@dataclasses.dataclass(frozen=True)
class _Global:
    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    dtype: np.dtype[Any]
    key: str
    size: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads the state dict of a PyTorch file, of the old format or of the zip format that came with PyTorch 1.6.

    Args:
        path: Local or remote file: a dict of tensors, or a dict that holds one under `state_dict`, `model` or
            `model_state_dict`.

    Returns:
        Dict from name to array, in the file's order, each of the file's own dtype.

    Raises:
        CorruptRecordError: The file is truncated, is of another kind, or holds anything but tensors.

    Examples:
        >>> read_state_dict("efficientnet-lite0.pth")["_bn0.weight"].shape  # doctest: +SKIP
        (32,)
    """
    try:
        content = filesystem.read(path)
        if len(content) > _MAX_BYTES:
            raise _FormatError(f"is larger than the limit of {_MAX_BYTES >> 30} GiB")
        if zipfile.is_zipfile(io.BytesIO(content)):
            found, storages = _read_zip(content)
        else:
            found, storages = _read_old(content)
        return _to_arrays(_find_state_dict(found), storages)
    except _FormatError as problem:
        raise errors.CorruptRecordError(
            f"expected a PyTorch file of tensors at {path}, but it {problem}; name a state dict (what "
            "torch.save(model.state_dict(), PATH) writes), or copy the file again if it is damaged"
        ) from problem


def is_torch_file(head: bytes) -> bool:
    """Returns whether a file that begins with these bytes, 14 or more, may be a PyTorch file of the old format."""
    return head[:4] == b"\x80\x02\x8a\x0a" and head[4:14] == _MAGIC.to_bytes(10, "little")


def _read_old(content: bytes) -> tuple[Any, Mapping[str, bytes]]:
    """Reads the old format: four pickles, the list of storages, and the storages, each after its number of elements."""
    if not is_torch_file(content[:14]):
        raise _FormatError("does not begin as one")
    file = io.BytesIO(content)
    # The magic number, the version and the sizes of types.
    for _ in range(3):
        _run_pickle(file)
    found = _run_pickle(file)
    keys = _run_pickle(file)
    sizes = {storage.key: storage for storage in _list_storages(found)}
    storages = {}
    if not isinstance(keys, list):
        raise _FormatError("lacks its list of storages")
    for key in keys:
        if key not in sizes:
            raise _FormatError("lists a storage that no tensor uses")
        count = int.from_bytes(file.read(8), "little")
        if count != sizes[key].size:
            raise _FormatError(
                f"is truncated or damaged: storage {key} has {count} elements instead of {sizes[key].size}"
            )
        storages[key] = file.read(count * sizes[key].dtype.itemsize)
    return found, storages


def _read_zip(content: bytes) -> tuple[Any, Mapping[str, bytes]]:
    """Reads the zip format: an entry `NAME/data.pkl`, and the storages uncompressed in `NAME/data/KEY`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise _FormatError("is a zip file without data.pkl")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise _FormatError("is a compressed zip file, as PyTorch writes none")
            root = pickled[0].removesuffix("data.pkl")
            order = f"{root}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise _FormatError("is of a big-endian machine")
            found = _run_pickle(io.BytesIO(archive.read(pickled[0])))
            keys = {storage.key for storage in _list_storages(found)}
            return found, {key: archive.read(f"{root}data/{key}") for key in keys}
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise _FormatError(f"is truncated or damaged ({error})") from error


def _list_storages(found: Any) -> Iterator[_Storage]:
    if isinstance(found, _Tensor):
        yield found.storage
    elif isinstance(found, dict):
        for part in found.values():
            yield from _list_storages(part)
    elif isinstance(found, (list, tuple)):
        for part in found:
            yield from _list_storages(part)


def _find_state_dict(found: Any) -> dict[str, _Tensor]:
    if not isinstance(found, dict):
        raise _FormatError("holds no dict")
    nested = next((found[key] for key in _NESTED if isinstance(found.get(key), dict)), found)
    foreign = [name for name, part in nested.items() if not isinstance(part, _Tensor)]
    if foreign or not nested:
        raise _FormatError(f"holds something else under {foreign[0]!r}" if foreign else "holds none")
    return {str(name): part for name, part in nested.items()}


def _to_arrays(tensors: Mapping[str, _Tensor], storages: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    return {name: _to_array(name, tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _to_array(name: str, tensor: _Tensor, content: bytes) -> np.ndarray:
    storage = tensor.storage
    if len(content) != storage.size * storage.dtype.itemsize:
        raise _FormatError(f"is truncated: {name} has {len(content)} bytes of {storage.size * storage.dtype.itemsize}")
    flat = np.frombuffer(content, storage.dtype)
    count = int(np.prod(tensor.shape, dtype=object))
    if not count:
        return np.empty(tensor.shape, storage.dtype)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    # A stride of 0 would make a large array of few bytes.
    if last >= storage.size or count > storage.size:
        raise _FormatError(f"is damaged: {name} of shape {tensor.shape} lies outside its storage")
    steps = [step * storage.dtype.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False).copy()


def _run_pickle(file: io.BytesIO) -> Any:
    """Carries out the instructions of one pickle, and leaves the file after it."""
    machine = _Machine()
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if number > _MAX_INSTRUCTIONS:
                raise _FormatError("has too many instructions")
            if instruction.name == "STOP":
                return machine.stack.pop()
            machine.run(instruction.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _FormatError(f"is truncated or damaged ({error})") from error
    raise _FormatError("is truncated")


class _Machine:
    """The stack of a pickle, for the instructions that PyTorch writes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Carries out one instruction."""
        if name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in _VALUES:
            self.stack.append(_VALUES[name](argument))
        elif name in _TUPLES:
            parts = [self.stack.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(parts)))
        elif name == "TUPLE":
            self.stack.append(tuple(self._pop_to_mark()))
        elif name in ("APPEND", "APPENDS"):
            parts = [self.stack.pop()] if name == "APPEND" else self._pop_to_mark()
            _of_type(self.stack[-1], list).extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = [self.stack.pop(), self.stack.pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
            _of_type(self.stack[-1], dict).update(zip(parts[::2], parts[1::2], strict=True))
        elif name == "BINPERSID":
            self.stack.append(_to_storage(self.stack.pop()))
        elif name == "REDUCE":
            arguments = self.stack.pop()
            self.stack.append(_rebuild(self.stack.pop(), arguments))
        elif name == "BUILD":
            # Attributes of a state dict: the versions of its layers.
            self.stack.pop()
            _of_type(self.stack[-1], dict)
        elif name != "PROTO":
            raise _FormatError(f"has the instruction {name}, which no file of tensors has")

    def _pop_to_mark(self) -> list[Any]:
        start = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        parts = self.stack[start + 1 :]
        del self.stack[start:]
        return parts


def _find_global(name: str) -> _Global:
    if name not in _GLOBALS:
        raise _FormatError(f"refers to {name.replace(' ', '.')!r}, which is no tensor; nothing of it was executed")
    return _Global(name)


# Instructions that push a value, by their argument.
_VALUES: dict[str, Callable[[Any], Any]] = {
    "MARK": lambda argument: _MARK,
    "NONE": lambda argument: None,
    "NEWTRUE": lambda argument: True,
    "NEWFALSE": lambda argument: False,
    "EMPTY_TUPLE": lambda argument: (),
    "EMPTY_LIST": lambda argument: [],
    "EMPTY_DICT": lambda argument: {},
    "GLOBAL": _find_global,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"), lambda argument: argument),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, got a {type(value).__name__}")
    return value


def _to_storage(identifier: Any) -> _Storage:
    _, kind, key, _, size, *_ = _of_type(identifier, tuple)
    return _Storage(_DTYPES[_of_type(kind, _Global).name], _of_type(key, str), _of_size(size))


def _of_size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a size, got {value!r}")
    return value


def _rebuild(function: Any, arguments: Any) -> Any:
    name = _of_type(function, _Global).name
    arguments = _of_type(arguments, tuple)
    if name == _ORDERED_DICT and not arguments:
        return {}
    if name == _REBUILD_PARAMETER:
        return _of_type(arguments[0], _Tensor)
    if name != _REBUILD_TENSOR:
        raise _FormatError(f"calls {name.replace(' ', '.')!r}, which makes no tensor; nothing of it was executed")
    storage, offset, shape, strides, *_ = arguments
    sides, steps = (tuple(map(_of_size, _of_type(part, tuple))) for part in (shape, strides))
    if len(sides) != len(steps) or len(sides) > 8:
        raise TypeError(f"expected as many strides as sides, got {steps} of {sides}")
    return _Tensor(_of_type(storage, _Storage), _of_size(offset), sides, steps)
