import zipfile

import h5py
import numpy as np
import pytest

from isic_tf.models.conversion import keras_files
from tfrecord_tools import errors

NAME = "layers/conv2d/vars/0"
KERNEL = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file[NAME] = KERNEL
    return path


def test_arrays_of_hdf5_are_read(path):
    arrays = keras_files.read_arrays(str(path))
    assert list(arrays) == [NAME]
    np.testing.assert_array_equal(arrays[NAME], KERNEL)


def test_arrays_of_a_keras_file_are_read(path, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "system"}')
        archive.write(path, "model.weights.h5")
    np.testing.assert_array_equal(keras_files.read_arrays(str(tmp_path / "model.keras"))[NAME], KERNEL)


def test_a_zip_file_without_weights_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(errors.CorruptRecordError, match="model.keras is not an HDF5 or .keras file"):
        keras_files.read_arrays(str(tmp_path / "model.keras"))


def test_a_damaged_archive_is_refused(path, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.write(path, "model.weights.h5")
    content = bytearray((tmp_path / "model.keras").read_bytes())
    content[100] ^= 255
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(errors.CorruptRecordError, match="the archive is damaged: Bad CRC-32"):
        keras_files.read_arrays(str(tmp_path / "model.keras"))


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(errors.CorruptRecordError, match="damaged: .*truncated"):
        keras_files.read_arrays(str(path))


def test_arrays_in_other_files_are_refused(path, tmp_path):
    with h5py.File(path, "w") as file:
        file.create_dataset(NAME, (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(errors.CorruptRecordError, match=f"{NAME} lies in another file"):
        keras_files.read_arrays(str(path))


def test_links_to_other_files_are_not_followed(path, tmp_path):
    with h5py.File(path, "w") as file:
        file["a"] = KERNEL
        file["b"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
    assert list(keras_files.read_arrays(str(path))) == ["a"]


def test_arrays_of_texts_are_refused(path):
    with h5py.File(path, "w") as file:
        file["text"] = "weights"
    with pytest.raises(errors.CorruptRecordError, match="text holds no numbers"):
        keras_files.read_arrays(str(path))


def test_large_arrays_are_refused_before_memory_is_allocated(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("large", (2**31,), "f4", chunks=(2**20,))
    with pytest.raises(errors.CorruptRecordError, match="larger than 4 GiB"):
        keras_files.read_arrays(str(path))


def test_large_weights_in_a_keras_file_are_refused(path, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "_MAX_BYTES", 100)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.write(path, "model.weights.h5")
    with pytest.raises(errors.CorruptRecordError, match="its weights are larger than"):
        keras_files.read_arrays(str(tmp_path / "model.keras"))
