import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import input_pipeline
from isic_tf.inference import fit_fold_detector
from isic_tf.models import classifiers
from isic_tf.novelty import detector, detector_file

# Photographs of few colors, and at the end, noise.
RNG = np.random.default_rng(0)
PLAIN = np.clip(RNG.normal((200, 160, 140), 12, (130, 1, 1, 3)) + RNG.normal(0, 4, (130, 32, 32, 3)), 0, 255)
IMAGES = np.concatenate([PLAIN, RNG.integers(0, 256, (10, 32, 32, 3))]).astype(np.uint8)
ROWS = pd.DataFrame({"image_name": [f"i{number}" for number in range(140)], "shard": "train00-140.tfrec"})
ROWS = ROWS.assign(position=range(140), number=range(140))
TRAINING, HELD_OUT, UNLIKE = ROWS[:70], ROWS[70:130], ROWS[130:]


def make_dataset(rows):
    return input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=20, images=lambda numbers: IMAGES[numbers])


@pytest.fixture(scope="module")
def classifier():
    tf.keras.utils.set_random_seed(0)
    return classifiers.build_classifier("efficientnet-lite0", 32, "imagenet")


def test_the_detector_is_written_beside_the_weights_and_knows_other_images(classifier, tmp_path):
    weights = tmp_path / "best.weights.h5"
    classifier.save_weights(weights)
    strategy = tf.distribute.get_strategy()
    read: list[str] = []

    def make_and_note(rows):
        read.extend(rows["image_name"])
        return make_dataset(rows)

    values = fit_fold_detector.fit_fold_detector(classifier, str(weights), TRAINING, HELD_OUT, make_and_note, strategy)
    assert len(read) == fit_fold_detector.count_images(len(TRAINING), len(HELD_OUT))
    fitted = detector_file.load_detector(str(weights))
    # All but the last 1,280 features, and these with the 112 before them.
    assert (len(fitted.mean), fitted.references.shape[1]) == (192, 1392)
    predict = fit_fold_detector.predictor.make_predictor([classifier], strategy, stages=True)
    measured = []
    for rows in (HELD_OUT, UNLIKE):
        features = np.concatenate([found[:, 0] for _, _, found in predict(make_dataset(rows))])
        measured.append(detector.measure(fitted, features))
    # In the order of the rows.
    assert values == pytest.approx(measured[0], rel=1e-3)
    assert [(found > 1).mean() for found in measured] == [pytest.approx(0.05, abs=0.01), 1.0]


def test_all_held_out_images_are_measured_where_some_of_them_set_the_limit(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_fold_detector, "_MOST_IMAGES", 50)
    strategy = tf.distribute.get_strategy()
    rows = pd.concat([HELD_OUT, UNLIKE]).iloc[::-1]
    values = fit_fold_detector.fit_fold_detector(classifier, "", TRAINING, rows, make_dataset, strategy)
    assert values.shape == (70,)
    # The noise comes first now.
    assert values[:10].min() > values[10:].max()


def test_a_worker_that_is_not_the_chief_writes_nothing_and_few_images_give_no_detector(classifier, tmp_path, capsys):
    strategy = tf.distribute.get_strategy()
    fit = fit_fold_detector.fit_fold_detector
    assert fit(classifier, "", TRAINING, HELD_OUT, make_dataset, strategy) is not None
    weights = str(tmp_path / "best.weights.h5")
    assert fit(classifier, weights, TRAINING, HELD_OUT[:49], make_dataset, strategy) is None
    assert "no detector of unlike images: 50 images needed, 49 held out" in capsys.readouterr().out
    # Nothing is said where nothing was to be held out.
    assert fit(classifier, weights, TRAINING, HELD_OUT[:0], make_dataset, strategy) is None
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
