import io
import json

import numpy as np
import pytest

from isic_tf.novelty import detector, detector_file
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

RNG = np.random.default_rng(0)
FITTED = detector.fit_detector(RNG.normal(size=(60, 5)), RNG.normal(size=(50, 5)), early=4)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "fold0" / "best.weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    digest = filesystem.compute_sha256(str(path))
    record = {"fold": "fold0", "epoch_of_sha256": {digest: 3}}
    path.with_name("best.weights.h5.json").write_text(json.dumps(record))
    return str(path)


def test_what_is_written_is_read_back(weights):
    assert detector_file.load_detector(weights) is None
    path = detector_file.save_detector(weights, FITTED)
    assert path == detector_file.locate_detector(weights)
    found = detector_file.load_detector(weights)
    for name, array in FITTED._asdict().items():
        assert getattr(found, name).dtype == array.dtype
        assert (getattr(found, name) == array).all()
    # Nothing of it is pickled.
    assert np.load(path, allow_pickle=False)["limits"].tolist() == FITTED.limits.tolist()


def test_the_detector_of_other_weights_is_not_used(weights, tmp_path):
    detector_file.save_detector(weights, FITTED)
    (tmp_path / "fold0" / "best.weights.h5.json").write_text('{"fold": "fold0", "epoch_of_sha256": {"00": 4}}')
    assert detector_file.load_detector(weights) is None
    # As with the weights themselves, without a record nothing is compared.
    (tmp_path / "fold0" / "best.weights.h5.json").unlink()
    assert detector_file.load_detector(weights) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.zeros(4, np.float32)}, "scale holds values that no fit gives"),
        ({"limits": np.full(3, np.nan, np.float32)}, "limits holds values that no fit gives"),
        ({"mean": np.zeros(3, np.float32)}, "is float"),
        ({"references": np.zeros((2, 5), np.float32)}, "references is float32"),
        ({"components": np.zeros((0, 4), np.float32)}, "is float32"),
    ],
)
def test_damaged_arrays_are_refused(weights, change, message):
    path = detector_file.save_detector(weights, FITTED)
    with np.load(path) as archive:
        arrays = dict(archive)
    content = io.BytesIO()
    np.savez(content, **arrays | change)
    filesystem_path = path
    with open(filesystem_path, "wb") as file:
        file.write(content.getvalue())
    with pytest.raises(errors.CorruptRecordError, match=rf"unlike.npz.*{message}.*isic_tf.train again"):
        detector_file.load_detector(weights)


def test_a_file_that_is_no_archive_or_lacks_an_array_is_refused(weights):
    path = detector_file.locate_detector(weights)
    with open(path, "wb") as file:
        file.write(b"PK\x03\x04 no archive")
    with pytest.raises(errors.CorruptRecordError, match="unlike.npz"):
        detector_file.load_detector(weights)
    np.savez(path, mean=np.zeros(5, np.float32))
    with pytest.raises(errors.CorruptRecordError, match="unlike.npz"):
        detector_file.load_detector(weights)
