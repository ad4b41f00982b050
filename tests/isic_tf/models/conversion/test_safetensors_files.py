import numpy as np
import pytest
from source_weights import safetensors_file

from isic_tf.models.conversion import safetensors_files
from tfrecord_tools import errors

ARRAYS = {"a": np.float32([[1, 2], [3, 4]]), "b": np.float32([5])}


def read(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return safetensors_files.read_arrays(str(path))


def test_a_file_written_by_hand_is_read(tmp_path):
    header = (
        b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"n":{"dtype":"I64","shape":[],"data_offsets":[4,12]}}'
    )
    content = len(header).to_bytes(8, "little") + header + b"\x80\x3f\x00\xc0" + b"\x07" + bytes(7)
    arrays = read(tmp_path, content)
    assert arrays["a"].astype(np.float32).tolist() == [1, -2]
    assert arrays["n"] == 7
    assert arrays["n"].shape == ()


def test_arrays_are_those_of_the_file(tmp_path):
    arrays = read(tmp_path, safetensors_file(ARRAYS))
    assert list(arrays) == ["a", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header of at most 0 bytes, found 0"),
        (b"short", "expected a header of at most 0 bytes"),
        ((2**40).to_bytes(8, "little") + b"{}", f"at most 2 bytes, found {2**40}"),
        ((2).to_bytes(8, "little") + b"[]", "expected an object"),
        ((2).to_bytes(8, "little") + b"{]", "JSONDecodeError"),
        ((2).to_bytes(8, "little") + b"{}", "its arrays take 0 bytes, found 0"),
        (safetensors_file(ARRAYS)[:-1], r"b of \[1\] F32 lies at bytes 16 to 20, expected it from 16, of 19 bytes"),
        (safetensors_file(ARRAYS) + b"x", "its arrays take 20 bytes, found 21"),
        (safetensors_file(ARRAYS, b={"data_offsets": [12, 16]}), "expected it from 16"),
        (safetensors_file(ARRAYS, b={"dtype": "F8"}), "b has the type 'F8'"),
        (safetensors_file(ARRAYS, b={"shape": [-1]}), "no whole number"),
        (safetensors_file(ARRAYS, b={"shape": [2]}), "expected it from 16"),
        (safetensors_file(ARRAYS, b={"shape": None}), "TypeError"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path, content, message):
    with pytest.raises(errors.CorruptRecordError, match=message) as caught:
        read(tmp_path, content)
    assert "model.safetensors is not a .safetensors file" in str(caught.value)


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    entry = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    header = b"{" + entry + b"," + entry + b"}"
    with pytest.raises(errors.CorruptRecordError, match="a name occurs twice"):
        read(tmp_path, len(header).to_bytes(8, "little") + header + b"x")
