"""Whether image files are called unlike more seldom where they pass through the JPEG encoding of the records.

    python experiments/benchmarks/unlike_encoding.py RUN RECORDS

RUN is a binary run on the 384 images of ISIC 2020, at the size of its RECORDS. Each image is judged by the fold that
held it out: as a record, as its JPEG file, and as a PNG file with the same pixels, both reduced to the network's size;
and each of both encoded and decoded again at that size, as records are. Intervals are of 95 % and over patients. The
ROC AUC tells what the same would do to the predictions.
"""

import sys

import common
import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
import unlike_detection
from sklearn import metrics

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import mixture, photographs
from isic_tf.inference import fold_networks
from isic_tf.novelty import detector_file
from tfrecord_tools import imaging

QUALITY = 95


def encode(image: np.ndarray) -> np.ndarray:
    """Encodes and decodes an RGB image as a record."""
    data = np.frombuffer(imaging.encode(image[..., ::-1], quality=QUALITY), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def main(run: str, records: str) -> None:
    """Prints the table."""
    options, paths = run_directory.read_network(run), run_directory.trained_folds(run)
    networks = fold_networks.FoldNetworks(paths, options, tf.distribute.get_strategy())
    rows = mixture.read_sets(records)
    held_by = np.full(len(rows), -1)
    for fold, path in enumerate(paths):
        seen = seen_images.read_seen_images(str(common.pathlib.Path(path).parent))
        held_by[~rows["image_name"].isin(seen["image_name"])] = fold
    reader = photographs.PhotographReader(options["image_size"], options)
    folder = common.find_real("isic2020/jpeg512/train/*.jpg")[0].parent
    files = [folder / f"{name}.jpg" for name in rows["image_name"]]
    as_jpeg = np.stack([reader.read_file(str(path)).square for path in files])
    as_png = []
    for path in files:
        data = cv2.imencode(".png", cv2.imread(str(path)))[1].tobytes()
        as_png.append(reader.read_bytes(data, "image").square)
    kinds = {"records": None, "JPEG files": as_jpeg, "PNG files": np.stack(as_png)}
    for name in ("JPEG files", "PNG files"):
        kinds[f"{name}, encoded at {options['image_size']} px"] = np.stack([encode(one) for one in kinds[name]])
    lines = []
    for name, images in kinds.items():
        values, scores = np.zeros(len(rows)), np.zeros(len(rows))
        for fold, path in enumerate(paths):
            own = np.flatnonzero(held_by == fold)
            given = rows.iloc[own].reset_index(drop=True)
            pixels = None if images is None else lambda numbers, images=images: images[numbers]
            predict = networks.make_predictor(stages=True)
            dataset = unlike_detection.input_pipeline.make_eval_dataset(
                given, image_size=options["image_size"], batch_size=32, images=pixels
            )
            fitted = detector_file.load_detector(path)
            for names, found, stages in predict(dataset, [fold]):
                places = own[pd.Index(given["image_name"]).get_indexer(names)]
                values[places] = unlike_detection.detector.measure(fitted, stages[:, 0])
                scores[places] = found
        flagged = unlike_detection.state(values > 1, rows["patient_id"].to_numpy())
        lines.append(
            (name, flagged, f"{np.median(values):.3f}", f"{metrics.roc_auc_score(rows['target'], scores):.4f}")
        )
    table = pd.DataFrame(lines, columns=["images", "flagged, %", "median of unlike", "ROC AUC"])
    unlike_detection.image_quality.print_table(f"{len(rows)} held-out images", table)


if __name__ == "__main__":
    main(*sys.argv[1:])
