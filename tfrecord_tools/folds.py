"""Splits a table into folds: no patient in two of them, malignancy and images per patient balanced.

python -m tfrecord_tools.folds --csv=train.csv --output=folds.csv --num_folds=5
"""

import numpy as np
import pandas as pd
from absl import flags

from tfrecord_tools import command, schema

# Bins of images per patient whose shares every fold should have alike.
_SIZE_EDGES = (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 60, 80, 200)
# How much an imbalance counts: malignant images, images, patients, and each bin of images per patient.
_WEIGHTS = (4.0, 30.0, 4.0, 0.3)


def group_codes(patient_ids):
    """Numbers the patients in order of first appearance; each blank id is a group of its own.

    Args:
        patient_ids: Sequence of text `[n]`, "" where unknown.

    Returns:
        int64 `[n]`, codes from 0 without gaps.
    """
    keys = [patient_id or ("", row) for row, patient_id in enumerate(patient_ids)]
    return pd.factorize(pd.Series(keys, dtype=object))[0]


def assign(groups, targets, num_folds, seed=0):
    """Assigns whole groups to folds, the hardest to place first, each where it unbalances least.

    Balanced at once, in relative terms: malignant images, images, patients, and the histogram of images per patient.

    Args:
        groups: int `[n]`, a patient's number per image, from 0 without gaps.
        targets: int `[n]`, 1 for malignant; anything else counts as benign.
        num_folds: Number of folds, from 2 to the number of groups.
        seed: Orders groups that are alike.

    Returns:
        int64 `[n]`, folds from 0.

    Raises:
        ValueError: `num_folds` is below 2 or above the number of groups.
    """
    images = np.bincount(groups)
    if not 2 <= num_folds <= len(images):
        raise ValueError(f"expected a number of folds from 2 to the {len(images)} patients there are, got {num_folds}")
    malignant = np.bincount(groups, weights=np.equal(targets, 1))
    bins = np.eye(len(_SIZE_EDGES) + 1)[np.digitize(images, _SIZE_EDGES)] * images[:, None]
    sizes = np.column_stack([malignant, images, np.ones_like(images), bins])
    share = sizes.sum(axis=0) / num_folds
    weights = np.array([*_WEIGHTS[:3], *[_WEIGHTS[3]] * bins.shape[1]]) / np.maximum(share, 1) ** 2
    ties = np.random.default_rng(seed).random(len(images))
    loads = np.zeros((num_folds, sizes.shape[1]))
    folds = np.zeros(len(images), np.int64)
    for group in np.lexsort((ties, -images, -malignant)):
        # The growth of the weighted squared loads, less what is the same for every fold.
        fold = np.argmin(loads @ (weights * sizes[group]))
        folds[group] = fold
        loads[fold] += sizes[group]
    return folds[groups]


def write_folds(csv, output, num_folds, seed):
    """Reads a table, assigns its folds and writes `image_name, fold`; prints what each fold holds.

    Args:
        csv: Table with `image_name` and `patient_id`, and `target` where known.
        output: CSV file to write.
        num_folds: Number of folds.
        seed: See `assign`.

    Raises:
        ValueError: The table lacks a column, names an image twice, or has fewer patients than folds.
    """
    table = schema.read_table(csv, ("image_name", "patient_id"))
    if table["image_name"].duplicated().any():
        name = table.loc[table["image_name"].duplicated(), "image_name"].iloc[0]
        raise ValueError(f"{csv} must name every image once, {name} comes twice; remove one of its rows")
    groups = group_codes(table["patient_id"])
    targets = pd.to_numeric(table["target"], errors="coerce") if "target" in table else np.zeros(len(table))
    table["fold"] = assign(groups, targets, num_folds, seed)
    command.write_text(output, table[["image_name", "fold"]].to_csv(index=False))
    summary = table.assign(group=groups, malignant=np.equal(targets, 1)).groupby("fold")
    summary = summary.agg(images=("group", "size"), patients=("group", "nunique"), malignant=("malignant", "sum"))
    print(summary.assign(malignant_share=(summary["malignant"] / summary["images"]).map("{:.4f}".format)).to_string())


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Table with image_name, patient_id and, to balance malignancy, target.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, fold.")
    flags.DEFINE_integer("num_folds", 5, "Number of folds.", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "Orders patients that are alike; another seed gives other folds.")
    flags.mark_flags_as_required(["csv", "output"])


if __name__ == "__main__":
    command.run(write_folds, define_flags)
