"""What float16 and int8 cost: each fold's network, as TensorFlow Lite models, on its held-out images.

    python experiments/benchmarks/int8_accuracy.py RUN 'records/train*.tfrec' labels.csv

The ranges of int8 are taken from 200 images that the network was trained on.
"""

import pathlib
import sys

import common  # noqa: F401  # adds the checkout to the path
import numpy as np
import pandas as pd

from isic_tf.artifacts import run_directory
from isic_tf.distribution import cpu
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import read_model_config
from isic_tf.serving import config, export_parity, exported_predictions, tflite

SAMPLES = 200
THREADS = cpu.count_cores()


def predict_fold(path: pathlib.Path, options: dict, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the held-out rows of a fold with a column of probabilities for the run and for each form."""
    size = options["image_size"]
    model_config = read_model_config(str(path.parent), options)
    weights = str(path / run_directory.BEST_WEIGHTS)
    network = patient_context_head.image_level_model(classifiers.build_from_config(model_config, weights))
    names = pd.read_csv(path / "oof.csv")["image_name"]
    held_out = rows[rows["image_name"].isin(names)].reset_index(drop=True)
    trained = rows[~rows["image_name"].isin(names)].sample(SAMPLES, random_state=0).sort_index()
    samples = list(exported_predictions.read_images(trained, size, ""))
    found = {"run": exported_predictions.predict_run([network], held_out, size, "", THREADS)}
    for form in config.FORMS:
        content = tflite.convert([network], size, "", form, samples)
        found[form] = exported_predictions.predict_lite(content, held_out, size, "", THREADS, form)
    return held_out.assign(**found)


def main(run: str, records: str, labels: str) -> None:
    """Prints the table of `isic_tf.export` for the held-out images of all folds together."""
    rows = exported_predictions.read_rows(records, labels, [])
    options = run_directory.read_network(run)
    folds = sorted(pathlib.Path(run).glob("fold*"))
    predictions = pd.concat([predict_fold(fold, options, rows) for fold in folds], ignore_index=True)
    forms = {form: predictions[form].to_numpy() for form in config.FORMS}
    print(export_parity.compare(predictions, predictions["run"].to_numpy(), forms).to_string())
    for form, found in forms.items():
        moved = np.abs(found - predictions["run"])
        print(f"{form}: moved by {moved.mean():.4f} on average, {moved.quantile(0.99):.4f} at the 99th percentile")


if __name__ == "__main__":
    main(*sys.argv[1:])
