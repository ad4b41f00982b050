"""Judges prediction files: exact ROC AUC with its 95 % interval over patients.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv
"""

from absl import flags

from isic_tf import metrics, runs
from tfrecord_tools import command, schema


def evaluate(predictions, labels):
    """Prints a line for each prediction file.

    Args:
        predictions: Paths of CSV files with `image_name` and `prediction`.
        labels: CSV file with `image_name`, `patient_id` and `target`; it may hold more images.

    Raises:
        ValueError: A table is damaged, a predicted image has no label, or there is one class only.
    """
    table = read_labels(labels)
    for path in predictions:
        predicted = runs.read_predictions(path)
        unknown = sorted(set(predicted["image_name"]) - set(table["image_name"]))
        if unknown:
            raise ValueError(f"{len(unknown)} images of {path} have no label in {labels}, {unknown[0]} first")
        joined = predicted.merge(table, on="image_name", validate="one_to_one")
        print(f"{path}: {metrics.describe(metrics.summarize(joined))}")


def read_labels(path):
    """Reads a table of labels.

    Args:
        path: CSV file with `image_name`, `patient_id` and `target`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text) and `target` (int, 0 or 1).

    Raises:
        ValueError: A name comes twice, or a target is neither 0 nor 1.
    """
    columns = ["image_name", "patient_id", "target"]
    table = schema.read_table(path, columns)[columns]
    schema.refuse_repeats(path, table, "label")
    try:
        table["target"] = [schema.encode("target", target) for target in table["target"]]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if (table["target"] == schema.UNKNOWN).any():
        name = table.loc[table["target"] == schema.UNKNOWN, "image_name"].iloc[0]
        raise ValueError(f"{path} must label every image, the target of {name} is blank")
    return table


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_list("predictions", None, "CSV files with image_name and prediction, separated by commas.")
    flags.DEFINE_string("labels", None, "CSV file with image_name, patient_id and target.")
    flags.mark_flags_as_required(["predictions", "labels"])


if __name__ == "__main__":
    command.run(evaluate, define_flags)
