"""Out-of-fold scores of two plain peers on the real ISIC 2020 images, for comparison with a run of isic-tf.

    python experiments/benchmarks/real_peers.py run/oof.csv peers
    python -m isic_tf.evaluate --predictions=run/oof.csv,peers/colors.csv,peers/lite0.csv --labels=train_512.csv

`colors` is a logistic regression on color statistics, `lite0` one on the features of EfficientNet-Lite0 with its
ImageNet weights at 224 px, eight rotations and flips averaged. Both use the folds of the run. The regularization is
selected within the training folds, by whole patients.
"""

import pathlib
import sys
import warnings

import common
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isic_tf.data import decoding
from isic_tf.inference import test_time_augmentation
from isic_tf.metrics import roc
from isic_tf.models import backbones

SIDE = 224
STRENGTHS = 10.0 ** np.arange(-5, 1.5, 0.5)


def measure_colors(images: tf.Tensor) -> np.ndarray:
    """Returns mean, standard deviation and five percentiles of each channel and of their differences, [n, 42]."""
    red, green, blue = (
        images[..., channel].numpy().reshape(len(images), -1).astype(np.float32) for channel in range(3)
    )
    channels = (red, green, blue, red - green, red - blue, green - blue)
    return np.concatenate(
        [
            np.stack([each.mean(1), each.std(1), *np.percentile(each, (5, 25, 50, 75, 95), axis=1)], axis=1)
            for each in channels
        ],
        axis=1,
    )


def extract_features(images: tf.Tensor) -> np.ndarray:
    """Returns Lite0's features, averaged over the image and over its eight rotations and flips, [n, 1280]."""
    backbone = backbones.build_backbone("efficientnet-lite0", SIDE, "imagenet")
    normalize = backbones.make_normalization("efficientnet-lite0")
    turned = (test_time_augmentation.dihedral(images, tf.constant(version)) for version in range(8))
    versions = [normalize(decoding.to_float(each)) for each in turned]
    return np.mean([backbone.predict(each, batch_size=32, verbose=0).mean((1, 2)) for each in versions], axis=0)


def predict_out_of_fold(features: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Returns each image's score by the logistic regression that was fitted on the other folds."""
    scores = np.empty(len(table))
    for fold in table["fold"].unique():
        training = table[table["fold"] != fold]
        splits = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(
            training, training["target"], training["patient_id"]
        )
        regression = LogisticRegressionCV(Cs=STRENGTHS, cv=list(splits), scoring="roc_auc", max_iter=5000)
        model = make_pipeline(StandardScaler(), regression).fit(features[training.index], training["target"])
        held_out = table.index[table["fold"] == fold]
        scores[held_out] = model.decision_function(features[held_out])
    return scores


def main(oof: str, output: str) -> None:
    """Writes `colors.csv` and `lite0.csv` into the directory `output`."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="sklearn")
    labels = pd.read_csv(common.find_real("isic2020/train_512.csv")[0])
    table = pd.read_csv(oof, usecols=["image_name", "fold"]).merge(labels, on="image_name", validate="1:1")
    directory = common.REAL_DATA / "isic2020" / "jpeg512" / "train"
    images = tf.stack([decoding.decode((directory / f"{name}.jpg").read_bytes(), SIDE) for name in table["image_name"]])
    pathlib.Path(output).mkdir(parents=True, exist_ok=True)
    for name, measure in (("colors", measure_colors), ("lite0", extract_features)):
        scores = predict_out_of_fold(measure(images), table)
        predictions = table[["image_name"]].assign(prediction=1 / (1 + np.exp(-scores)))
        predictions.to_csv(pathlib.Path(output) / f"{name}.csv", index=False)
        print(f"{name}: ROC AUC {roc.roc_auc(table['target'].to_numpy(), scores):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
