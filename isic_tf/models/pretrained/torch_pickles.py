"""Reads the pickles of PyTorch files as data (by `pickletools`): nothing in them is executed.

The few instructions that build dicts of tensors are carried out on tuples, lists and dicts; any other is an error.
"""

import dataclasses
import math
import pickletools
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

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
_MARK = object()


class FormatError(Exception):
    """What is wrong with a file, in words that complete "...: PATH"."""


@dataclasses.dataclass(frozen=True)
class _Global:
    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers of a file, outside the pickle: their type, the key under which they lie, and how many they are."""

    dtype: np.dtype[Any]
    key: str
    size: int

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An array in a storage. Its `offset` and `strides` count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size in bytes, once it is copied."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


class Pickle(NamedTuple):
    """What a pickle holds: its value, and the storages that its tensors name, by their keys."""

    value: Any
    storages: dict[str, Storage]


def read_pickle(file: typing.BinaryIO) -> Pickle:
    """Carries out the instructions of one pickle, and leaves the file after it.

    Args:
        file: Binary file, at the start of the pickle.

    Returns:
        `Pickle`.

    Raises:
        FormatError: The pickle is truncated or damaged, or has instructions or names that no file of tensors has.
    """
    machine = _Machine()
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if number > _MAX_INSTRUCTIONS:
                raise FormatError("has too many instructions")
            if instruction.name == "STOP":
                return Pickle(machine.stack.pop(), machine.storages)
            machine.run(instruction.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError, StopIteration) as error:
        raise FormatError(f"is truncated or damaged ({str(error)[:200] or type(error).__name__})") from error
    raise FormatError("is truncated")


class _Machine:
    """The stack of a pickle, for the instructions that PyTorch writes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

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
            # Keys of other types could take forever to hash.
            names = [_of_type(name, (str, int)) for name in parts[::2]]
            _of_type(self.stack[-1], dict).update(zip(names, parts[1::2], strict=True))
        elif name == "BINPERSID":
            storage = _to_storage(self.stack.pop())
            if self.storages.setdefault(storage.key, storage) != storage:
                raise FormatError(f"is damaged: it has two storages {storage.key[:80]!r}")
            self.stack.append(storage)
        elif name == "REDUCE":
            arguments = self.stack.pop()
            self.stack.append(_rebuild(self.stack.pop(), arguments))
        elif name == "BUILD":
            # Attributes of a state dict: the versions of its layers.
            self.stack.pop()
            _of_type(self.stack[-1], dict)
        elif name != "PROTO":
            raise FormatError(f"has the instruction {name}, which no file of tensors has")

    def _pop_to_mark(self) -> list[Any]:
        start = next(place for place in range(len(self.stack) - 1, -1, -1) if self.stack[place] is _MARK)
        parts = self.stack[start + 1 :]
        del self.stack[start:]
        return parts


def _find_global(name: str) -> _Global:
    if name not in _GLOBALS:
        raise FormatError(f"refers to {name.replace(' ', '.')!r}, which is no tensor; nothing of it was executed")
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


def _of_type(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        # The value itself could be too long to print.
        expected = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
        raise TypeError(f"expected a {expected}, got a {type(value).__name__}")
    return value


def _to_storage(identifier: Any) -> Storage:
    _, kind, key, _, size, *_ = _of_type(identifier, tuple)
    return Storage(_DTYPES[_of_type(kind, _Global).name], _of_type(key, str), _of_size(size))


def _of_size(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a size, got a {type(value).__name__}")
    if not 0 <= value < 2**63:
        raise ValueError("expected a size of 0 to 2^63")
    return value


def _rebuild(function: Any, arguments: Any) -> Any:
    name = _of_type(function, _Global).name
    arguments = _of_type(arguments, tuple)
    if name == _ORDERED_DICT and not arguments:
        return {}
    if name == _REBUILD_PARAMETER:
        return _of_type(arguments[0], Tensor)
    if name != _REBUILD_TENSOR:
        raise FormatError(f"calls {name.replace(' ', '.')!r}, which makes no tensor; nothing of it was executed")
    storage, offset, shape, strides, *_ = arguments
    sides, steps = (tuple(map(_of_size, _of_type(part, tuple))) for part in (shape, strides))
    if len(sides) != len(steps) or len(sides) > 8:
        raise TypeError(f"expected as many strides as sides, 8 at most, got {len(steps)} of {len(sides)}")
    return Tensor(_of_type(storage, Storage), _of_size(offset), sides, steps)
