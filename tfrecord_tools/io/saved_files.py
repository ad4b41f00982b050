"""Reads files that a program saved and that anybody may have damaged or written: whatever is wrong is one error."""

import contextlib
import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

MAX_JSON_BYTES = 2**28
# What Python and NumPy raise for content of another type, shape, range, size or encoding than expected.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextlib.contextmanager
def explained_damage(path: str, kind: str, remedy: str) -> Iterator[None]:
    """Replaces whatever the content of a damaged file raises inside the block by one error.

    Args:
        path: The file, for the error.
        kind: What was expected in the file, with an article.
        remedy: What to do.

    Raises:
        CorruptRecordError: The content is damaged. A file that cannot be read at all raises an `OSError`, as before.

    Examples:
        >>> with explained_damage("a.json", "a calibration", "create it again with isic_tf.calibrate"):
        ...     {}["slope"]
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.CorruptRecordError: a.json is not a calibration (KeyError: 'slope'); create it \
again with isic_tf.calibrate
    """
    try:
        yield
    except errors.IsicError as error:
        raise errors.CorruptRecordError(f"{path} is not {kind} ({error}); {remedy}") from error
    except _DAMAGE as error:
        # The text of an error can be as long as the file.
        reason = f"{type(error).__name__}: {error}"[:200]
        raise errors.CorruptRecordError(f"{path} is not {kind} ({reason}); {remedy}") from error


def read_json(path: str, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads a JSON object. To be called inside `explained_damage`.

    Args:
        path: JSON file in UTF-8.
        max_bytes: Largest size of the file.

    Returns:
        Dict of its values. Numbers are finite.

    Raises:
        CorruptRecordError: The file is larger, or does not hold an object.
        ValueError: The file is not JSON, is not UTF-8, or holds a number that is not finite.
        RecursionError: It is nested too deeply.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        ...     print('{"slope": 1.5}', file=file, flush=True)
        ...     read_json(file.name)
        {'slope': 1.5}
    """
    size = filesystem.size(path)
    if size > max_bytes:
        raise errors.CorruptRecordError(f"expected at most {max_bytes} bytes, got {size}")
    content = json.loads(filesystem.read(path), parse_constant=_refuse_constant, parse_float=_parse_float)
    if not isinstance(content, dict):
        raise errors.CorruptRecordError(f"expected a JSON object, got {type(content).__name__}")
    return content


def _refuse_constant(text: str) -> float:
    raise errors.CorruptRecordError(f"expected finite numbers, got {text}")


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse_constant(text)
    return number


def check_numbers(content: Mapping[str, Any], names: Sequence[str]) -> None:
    """Checks that values of a JSON object are finite numbers. To be called inside `explained_damage`.

    Args:
        content: The object.
        names: Names of the values.

    Raises:
        CorruptRecordError: A value is not a finite number.
        KeyError: A value is absent.
    """
    for name in names:
        value = content[name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise errors.CorruptRecordError(f"expected a finite number as {name}, got {value!r:.50}")
