"""Judges prediction files: ranking, calibration, operating points, groups, patients and shortcuts, with intervals.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv --output=metrics.json
"""

import json

from absl import flags

from isic_tf import assess, compare, metrics, plain_text, tables
from tfrecord_tools import command, storage


def evaluate(predictions, labels, records=None, output=None, threshold=None, specificity=None):
    """Prints what can be said of each prediction file, and of the first against each other.

    Args:
        predictions: Paths of CSV files with `image_name` and `prediction`; of several, all of the same images.
        labels: CSV file with `image_name`, `patient_id` and `target`; it may hold more images, and what groups and
            shortcuts are made of (see `tables`).
        records: Glob pattern of shards that know the sizes of images and files; None for none.
        output: JSON file to write all figures to, or None.
        threshold: See `assess.assess`.
        specificity: See `assess.assess`.

    Raises:
        ValueError: A table is damaged, a predicted image has no label, the files are of different images, or there is
            one class only.
    """
    if not predictions:
        raise ValueError("expected one or more files for --predictions, got none")
    if threshold is not None and specificity is not None:
        raise ValueError("expected --threshold or --specificity, got both; give one")
    if output and storage.isdir(output):
        raise ValueError(f"expected a file's name for --output, got the folder {output}")
    known = tables.read_labels(labels)
    of_records = tables.read_records(records) if records else None
    joined = [tables.join(path, labels, known, of_records) for path in predictions]
    compare.refuse_other_images(predictions, joined)
    files = []
    for path, table in zip(predictions, joined, strict=True):
        found = assess.assess(table, threshold, specificity)
        print(f"{path}: {metrics.describe(found['summary'])}\n\n{plain_text.write(found)}\n", flush=True)
        files.append({"path": path, **found})
    comparisons = []
    for path, table in zip(predictions[1:], joined[1:], strict=True):
        found = compare.compare(joined[0], table)
        print(f"{plain_text.compare(predictions[0], path, found)}\n")
        comparisons.append({"first": predictions[0], "second": path, **found})
    if output:
        content = json.dumps({"files": files, "comparisons": comparisons}, indent=1, allow_nan=False)
        command.write_text(output, content + "\n")
        print(f"wrote all figures to {output}")


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_list(
        "predictions",
        None,
        "CSV files with image_name and prediction, separated by commas; the first is compared with each other.",
    )
    flags.DEFINE_string(
        "labels",
        None,
        "CSV file with image_name, patient_id and target, and perhaps fold, source, sex, age_approx, "
        "anatom_site_general_challenge, width, height, bytes.",
    )
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes, that know the sizes of images and files.")
    flags.DEFINE_string("output", None, "JSON file to write all figures to.")
    flags.DEFINE_float("threshold", None, "Prediction from which an image is called malignant.", 0.0, 1.0)
    flags.DEFINE_float(
        "specificity",
        None,
        f"Choose the threshold with this specificity (0 to 1), not that with {assess.SENSITIVITY} sensitivity.",
        0.0,
        1.0,
    )
    flags.mark_flags_as_required(["predictions", "labels"])


if __name__ == "__main__":
    command.run(evaluate, define_flags)
