import errno
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.artifacts import read_embeddings, run_directory
from isic_tf.diagnosis import training_features
from isic_tf.inference import fold_networks, predict_run
from isic_tf.inference.config import PredictFilesConfig
from tfrecord_tools import errors

pytestmark = pytest.mark.usefixtures("small_backbone")


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / training_features.FEATURES_FILE).unlink(missing_ok=True)
    return tmp_path / "run"


def read(folder, records):
    paths = run_directory.trained_folds(str(folder))
    options = run_directory.read_network(str(folder))
    networks = fold_networks.FoldNetworks(paths, options, tf.distribute.get_strategy())
    return training_features.read_or_compute(str(folder), paths, options, lambda: networks, str(records))


def test_features_are_those_that_predict_writes_out_of_fold(copy, record_set, index, tmp_path):
    found = read(copy, record_set / "train*.tfrec")
    assert sorted(found.image_name) == sorted(index["image_name"])
    own = index.set_index("image_name").loc[found.image_name]
    # The network of an image is that of the fold that held it out.
    assert found.network.tolist() == own["fold"].tolist()
    assert found.target.tolist() == own["target"].tolist()
    assert found.position.tolist() == own["position"].tolist()
    output, archive = str(tmp_path / "out.csv"), str(tmp_path / "out.npz")
    options = {"workdir": str(copy), "records": str(record_set / "train*.tfrec"), "out_of_fold": True}
    predict_run.predict_files(PredictFilesConfig(**options, output=output, embeddings=archive))
    wanted = read_embeddings(archive, found.image_name.tolist())[np.arange(len(own)), found.network]
    np.testing.assert_allclose(found.features, training_features.normalize(wanted), atol=1e-3)


def test_features_are_kept_until_records_or_weights_change(copy, record_set, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    shutil.copytree(record_set, tmp_path / "records")
    records = tmp_path / "records" / "train*.tfrec"
    first = read(copy, records)
    with monkeypatch.context() as patch:
        patch.setattr(training_features, "_compute", None)
        again = read(copy, records)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert "computing the features of" in caplog.text
    shard = sorted((tmp_path / "records").glob("train*.tfrec"))[0]
    shard.touch()
    monkeypatch.setattr(training_features, "_compute", lambda *_: pytest.fail("computed again"))
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        read(copy, records)


def test_an_image_that_all_networks_have_seen_is_that_of_the_first(copy, record_set, index):
    shutil.copy(copy / "fold0" / "seen_images.csv", copy / "kept.csv")
    both = [pd.read_csv(copy / fold / "seen_images.csv", dtype=str) for fold in ("fold0", "fold1")]
    pd.concat(both).to_csv(copy / "fold0" / "seen_images.csv", index=False)
    pd.concat(both).to_csv(copy / "fold1" / "seen_images.csv", index=False)
    found = read(copy, record_set / "train*.tfrec")
    assert len(found.image_name) == len(index)
    assert not found.network.any()


def test_records_of_other_images_are_refused(copy, record_set):
    with pytest.raises(errors.IsicError, match=r"expected training images of .*run in --records, got none of them amo"):
        read(copy, record_set / "test*.tfrec")


@pytest.mark.parametrize("content", [b"text", None])
def test_a_damaged_file_is_named(copy, record_set, content):
    path = copy / training_features.FEATURES_FILE
    read(copy, record_set / "train*.tfrec")
    if content is None:
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "target": arrays["target"][:2]})
    else:
        path.write_bytes(content)
    with pytest.raises(
        errors.CorruptRecordError, match=r"neighbors.npz is not a file of features .*; remove it"
    ) as caught:
        read(copy, record_set / "train*.tfrec")
    assert "\n" not in str(caught.value)


def test_a_run_that_cannot_be_written_to_keeps_nothing(copy, record_set, monkeypatch, caplog):
    def fail(path, mode="rb"):
        if mode == "wb":
            raise PermissionError(errno.EACCES, "read-only", path)
        return open(path, mode)

    monkeypatch.setattr(training_features.safe_npz.filesystem, "open", fail)
    found = read(copy, record_set / "train*.tfrec")
    assert len(found.features)
    assert "cannot be written, so the next call computes the features again" in caplog.text
    assert not (copy / training_features.FEATURES_FILE).exists()
