import h5py
import numpy as np
import pytest
from source_weights import safetensors_file
from torch_bytes import state_dict_file

from isic_tf.models.conversion import source_files
from tfrecord_tools import errors

ARRAYS = {"module.a": np.float32([[1, 2]]), "module.b": np.float32([3])}


def write_h5(path, names):
    with h5py.File(path, "w") as file:
        for name, array in zip(names, ARRAYS.values(), strict=True):
            file[name] = array


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("safetensors", lambda path: path.write_bytes(safetensors_file(ARRAYS))),
        ("PyTorch", lambda path: path.write_bytes(state_dict_file(ARRAYS))),
        ("NumPy", lambda path: np.savez(path.open("wb"), **ARRAYS)),
        ("Keras 2", lambda path: write_h5(path, ["a:0", "b:0"])),
        ("Keras 3", lambda path: write_h5(path, ["a", "b"])),
    ],
)
def test_formats_are_told_apart_by_content_and_names_of_parallel_training_are_shortened(tmp_path, kind, write):
    path = tmp_path / "weights"
    write(path)
    source = source_files.read_source(str(path))
    assert (source.path, source.kind) == (str(path), kind)
    assert [name.removesuffix(":0") for name in source.arrays] == ["a", "b"]
    for array, expected in zip(source.arrays.values(), ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_what_is_no_weights_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    with pytest.raises(errors.ConfigError, match=r"weights.pth, which does not exist"):
        source_files.read_source(str(path))
    with pytest.raises(errors.ConfigError, match="is a directory; name a file in it"):
        source_files.read_source(str(tmp_path))
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(errors.CorruptRecordError, match=r"weights.pth, but it begins as none"):
        source_files.read_source(str(path))
    monkeypatch.setattr(source_files, "_MAX_BYTES", 10)
    with pytest.raises(errors.CorruptRecordError, match="at most 10 bytes at .*weights.pth, found 42"):
        source_files.read_source(str(path))


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.array([print], dtype=object))
    with pytest.raises(errors.CorruptRecordError, match=r"weights.npz is not a .npz file .*Python objects"):
        source_files.read_source(str(path))
