"""How image files are judged that pass through a record, as `isic_tf` reads them, and ones that do not.

    python experiments/benchmarks/unlike_encoding.py RUN RECORDS

RUN is a binary run on the 384 images of ISIC 2020, at the size of its RECORDS. Each image is judged by the fold that
held it out: as a record, as its JPEG file, and as a PNG file with the same pixels; both resized to the network's size
alone, and then encoded and decoded as a record. Intervals are of 95 % and over patients. Differences are those of the
probability from that of the record.
"""

import sys

import common
import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
import unlike_detection
from sklearn import metrics

from isic_tf.artifacts import run_directory, run_flags, seen_images
from isic_tf.data import mixture, photographs, preprocessing_config
from isic_tf.inference import fold_networks
from isic_tf.novelty import detector_file


def main(run: str, records: str) -> None:
    """Prints the table."""
    options, paths = run_directory.read_network(run), run_directory.trained_folds(run)
    made = preprocessing_config.read_preprocessing(records)
    networks = fold_networks.FoldNetworks(paths, options, tf.distribute.get_strategy())
    rows = mixture.read_sets(records)
    held_by = np.full(len(rows), -1)
    for fold, path in enumerate(paths):
        seen = seen_images.read_seen_images(str(common.pathlib.Path(path).parent))
        held_by[~rows["image_name"].isin(seen["image_name"])] = fold
    plain = {name: value for name, value in options.items() if name not in run_flags.ENCODING}
    folder = common.find_real("isic2020/jpeg512/train/*.jpg")[0].parent
    files = [folder / f"{name}.jpg" for name in rows["image_name"]]
    content = {
        "JPEG files": [path.read_bytes() for path in files],
        "PNG files": [cv2.imencode(".png", cv2.imread(str(path)))[1].tobytes() for path in files],
    }
    kinds: dict[str, np.ndarray | None] = {"records": None}
    for way, known in (
        ("resized alone", plain),
        ("through a record", {**plain, **{name: made[name] for name in run_flags.ENCODING}}),
    ):
        reader = photographs.PhotographReader(options["image_size"], known)
        for name, data in content.items():
            kinds[f"{name}, {way}"] = np.stack([reader.read_bytes(one, "image").square for one in data])
    lines = []
    of_records = None
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
        of_records = scores if of_records is None else of_records
        apart = np.abs(scores - of_records)
        auc = metrics.roc_auc_score(rows["target"], scores)
        texts = f"{np.median(values):.3f}", f"{auc:.4f}", f"{apart.mean():.3f}", f"{apart.max():.3f}"
        lines.append((name, flagged, *texts))
    columns = ["images", "flagged, %", "median of unlike", "ROC AUC", "mean difference", "largest"]
    table = pd.DataFrame(lines, columns=columns)
    unlike_detection.image_quality.print_table(f"{len(rows)} held-out images", table)


if __name__ == "__main__":
    main(*sys.argv[1:])
