import json
import zlib

import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import saved_files


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("slope"),
        IndexError("list index out of range"),
        TypeError("unhashable"),
        RecursionError("too deep"),
        MemoryError(),
        NotImplementedError("compression type 99"),
        zlib.error("incorrect header check"),
        UnicodeDecodeError("utf-8", b"\xff" * 10_000, 0, 1, "invalid start byte"),
        ZeroDivisionError("division by zero"),
        errors.IsicError("expected a JSON object, got list"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_whatever_damage_raises_is_one_short_error_with_the_file_and_the_remedy(raised):
    with (
        pytest.raises(
            errors.CorruptRecordError, match=r"^a\.json is not a calibration \(.*\); make it again$"
        ) as found,
        saved_files.explained_damage("a.json", "a calibration", "make it again"),
    ):
        raise raised
    assert len(str(found.value)) < 300
    assert found.value.__cause__ is raised


@pytest.mark.parametrize("raised", [OSError("disk full"), KeyboardInterrupt(), AssertionError()])
def test_what_is_not_damage_is_left_alone(raised):
    with pytest.raises(type(raised)), saved_files.explained_damage("a.json", "a calibration", "make it again"):
        raise raised


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected a JSON object, got list"),
        (b'{"a": NaN}', "expected finite numbers, got NaN"),
        (b'{"a": -Infinity}', "expected finite numbers, got -Infinity"),
        (b'{"a": 1e999}', "expected finite numbers, got 1e999"),
        (b'{"a": 1' + b" " * 100 + b"}", "expected at most 50 bytes, got 108"),
    ],
)
def test_objects_of_finite_numbers_and_bounded_size_are_read(content, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(errors.CorruptRecordError, match=message):
        saved_files.read_json(str(path), max_bytes=50)
    path.write_text(json.dumps({"a": 1.5, "b": None}))
    assert saved_files.read_json(str(path), max_bytes=50) == {"a": 1.5, "b": None}


@pytest.mark.parametrize("value", ["1", None, True, [], float("nan"), float("inf")])
def test_a_value_that_is_not_a_finite_number_is_refused(value):
    with pytest.raises(errors.CorruptRecordError, match="expected a finite number as slope"):
        saved_files.check_numbers({"slope": value}, ["slope"])
    saved_files.check_numbers({"slope": 2, "intercept": -0.5}, ["slope", "intercept"])
