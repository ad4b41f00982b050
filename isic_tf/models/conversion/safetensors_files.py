"""Reads `.safetensors` files: the length of a header, the header in JSON, and the arrays one after the other.

Source: the format's description in the repository huggingface/safetensors. Nothing in such a file can be executed.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

_MAX_HEADER = 100_000_000
_LENGTH_BYTES = 8
_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(tf.bfloat16.as_numpy_dtype),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.safetensors` file.

    Args:
        path: Local or remote file.

    Returns:
        Dict from name to array, in the order of the file, each of the file's own dtype.

    Raises:
        CorruptRecordError: The file is truncated, is of another kind, or its header does not fit its content.

    Examples:
        >>> read_arrays("model.safetensors")["conv_stem.weight"].shape  # doctest: +SKIP
        (32, 3, 3, 3)
    """
    remedy = "copy the file again if it is damaged, or name another"
    with saved_files.explained_damage(path, "a .safetensors file of arrays", remedy):
        content = filesystem.read(path)
        length = int.from_bytes(content[:_LENGTH_BYTES], "little")
        start = _LENGTH_BYTES + length
        if len(content) < _LENGTH_BYTES or length > _MAX_HEADER or start > len(content):
            raise errors.CorruptRecordError(
                f"expected a header of at most {min(_MAX_HEADER, max(len(content) - _LENGTH_BYTES, 0))} bytes, found "
                f"{length}"
            )
        header = json.loads(content[_LENGTH_BYTES:start], object_pairs_hook=_refuse_repeated)
        if not isinstance(header, dict):
            raise errors.CorruptRecordError("expected an object in the header")
        header.pop("__metadata__", None)
        return _read_entries(header, memoryview(content)[start:])


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise errors.CorruptRecordError("a name occurs twice in the header")
    return found


def _read_entries(header: Mapping[str, Any], content: memoryview) -> dict[str, np.ndarray]:
    """Reads arrays that must follow each other without gap or overlap to the end of the file."""
    arrays = {}
    position = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        shape = entry["shape"]
        if entry["dtype"] not in _DTYPES:
            raise errors.CorruptRecordError(f"{name} has the type {entry['dtype']!r:.20}, of {', '.join(_DTYPES)}")
        if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
            raise errors.CorruptRecordError(f"{name} has a shape or a place that is no whole number")
        dtype = _DTYPES[entry["dtype"]]
        if start != position or end - start != math.prod(shape) * dtype.itemsize or end > len(content):
            raise errors.CorruptRecordError(
                f"{name} of {shape} {entry['dtype']} lies at bytes {start} to {end}, expected it from {position}, of "
                f"{len(content)} bytes"
            )
        arrays[name] = np.frombuffer(content[start:end], dtype).reshape(shape)
        position = end
    if position != len(content) or not arrays:
        raise errors.CorruptRecordError(f"its arrays take {position} bytes, found {len(content)}")
    return arrays
