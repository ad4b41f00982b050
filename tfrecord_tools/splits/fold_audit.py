"""What folds are judged by: how alike they are, and what is in two of them that must be in one."""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)

# Images of a patient: over 0 to 2, over 2 to 4 and so on, and over 200. The audit of Deotte's folds has these bins.
SIZE_EDGES = (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 60, 80, 200)


def count(folds, patients, targets):
    """Counts what each fold, or each group of patients, holds.

    Args:
        folds: int `[n]`, the fold or group of each image, from 0 without gaps.
        patients: int `[n]`, the patient of each image, from 0.
        targets: int `[n]`, 1 for malignant; anything else counts as benign.

    Returns:
        int64 `[f, 17]`: malignant images, images, patients, and images by how many images their patient has
        (`SIZE_EDGES`), in all folds together.
    """
    folds, patients = np.asarray(folds), np.asarray(patients)
    num_folds, num_patients = folds.max() + 1, patients.max() + 1
    images = np.bincount(folds)
    malignant = np.bincount(folds, weights=np.equal(targets, 1)).astype(np.int64)
    distinct = np.unique(folds * num_patients + patients) // num_patients
    bins = np.searchsorted(SIZE_EDGES, np.bincount(patients)[patients]) - 1
    cells = np.bincount(folds * len(SIZE_EDGES) + bins, minlength=num_folds * len(SIZE_EDGES))
    return np.column_stack([malignant, images, np.bincount(distinct), cells.reshape(num_folds, -1)])


def deviations(loads):
    """Measures how far each fold is from the mean of the folds.

    Args:
        loads: `[..., f, 17]`, see `count`.

    Returns:
        float64 `[..., f, 4]`: of the malignant rate, the images and the patients, relative to the mean; and the total
        variation distance of the shares of `SIZE_EDGES` from their mean, half the sum of the absolute differences.
    """
    images = np.maximum(loads[..., 1], 1)
    levels = np.stack([loads[..., 0] / images, loads[..., 1], loads[..., 2]], axis=-1)
    means = levels.mean(axis=-2, keepdims=True)
    # Where all are benign the mean rate is 0, and so is every deviation.
    relative = (levels - means) / np.where(means > 0, means, 1)
    shares = loads[..., 3:] / images[..., None]
    distances = np.abs(shares - shares.mean(axis=-2, keepdims=True)).sum(axis=-1, keepdims=True) / 2
    return np.concatenate([relative, distances], axis=-1)


def spread(deviated):
    """Gives what the folds differ by at the most: largest less smallest, or the largest distance.

    Args:
        deviated: float64 `[..., f, 4]`, see `deviations`.

    Returns:
        float64 `[..., 4]`.
    """
    # A relative deviation has its smallest at 0 or below, a distance counts from 0.
    return deviated.max(axis=-2) - np.minimum(deviated.min(axis=-2), 0)


def audit(table, pairs=None):
    """Measures the balance of folds and finds their leaks.

    Args:
        table: DataFrame of `image_name` (each once), `patient` (int, see `stratified_group_folds.group_codes`), `target` (int, 1 for
            malignant) and `fold` (int, -1 for an image in no fold).
        pairs: DataFrame of text, `image_name_1` and `image_name_2`: known duplicates; or None.

    Returns:
        by_fold: DataFrame by `fold`: `images`, `patients`, `malignant`, `malignant_rate` and `total_variation`, the
            distance of its images per patient from the mean of the folds, see `deviations`.
        figures: Dict of what is largest less smallest, `rate_spread` and `images_spread` relative to the mean and
            `images_apart` and `patients_apart` in numbers; of the greatest `total_variation`; and of the counts
            `leaking_patients` and `leaking_pairs` (in two folds or more), `listed_pairs`, `absent_pairs` (with an
            image that is not in the table) and `images_in_no_fold`.

    Raises:
        IsicError: No image is in a fold.
    """
    used = table[table["fold"] != schema.UNKNOWN]
    if used.empty:
        raise errors.IsicError(f"expected images in folds from 0, got {len(table)} images and all of them in no fold")
    folds, codes = np.unique(used["fold"], return_inverse=True)
    loads = count(codes, used["patient"], used["target"])
    deviated = deviations(loads)
    greatest = spread(deviated)
    by_fold = pd.DataFrame(loads[:, [1, 2, 0]], pd.Index(folds, name="fold"), ["images", "patients", "malignant"])
    by_fold["malignant_rate"] = by_fold["malignant"] / by_fold["images"]
    by_fold["total_variation"] = deviated[:, 3]
    figures = {
        "rate_spread": greatest[0],
        "images_spread": greatest[1],
        "images_apart": np.ptp(loads[:, 1]),
        "patients_apart": np.ptp(loads[:, 2]),
        "total_variation": greatest[3],
        "leaking_patients": (used.groupby("patient")["fold"].nunique() > 1).sum(),
        "images_in_no_fold": len(table) - len(used),
    }
    return by_fold, figures | ({} if pairs is None else _count_pairs(table, pairs))


def _count_pairs(table, pairs):
    fold = table.set_index("image_name")["fold"]
    first, second = (pairs[column].map(fold) for column in schema.PAIR_COLUMNS)
    apart = (first >= 0) & (second >= 0) & (first != second)
    absent = first.isna() | second.isna()
    return {"listed_pairs": len(pairs), "absent_pairs": absent.sum(), "leaking_pairs": apart.sum()}


def show(by_fold, figures):
    """Prints an audit as a table and a list.

    Args:
        by_fold: See `audit`.
        figures: See `audit`.
    """
    _LOG.info(by_fold.to_string(float_format="{:.5f}".format))
    lines = [
        ("malignant rate, (max - min) / mean", f"{figures['rate_spread']:.5f}"),
        ("images apart", f"{figures['images_apart']} ({figures['images_spread']:.2%} of the mean)"),
        ("patients apart", figures["patients_apart"]),
        ("images per patient, greatest total variation", f"{figures['total_variation']:.5f}"),
        ("patients in two folds", figures["leaking_patients"]),
    ]
    if "listed_pairs" in figures:
        absent = f"{figures['absent_pairs']} with an image not in the table"
        lines.append(("listed duplicate pairs", f"{figures['listed_pairs']} ({absent})"))
        lines.append(("listed duplicate pairs in two folds", figures["leaking_pairs"]))
    if figures["images_in_no_fold"]:
        lines.append(("images in no fold", figures["images_in_no_fold"]))
    width = max(len(name) for name, _ in lines)
    _LOG.info("\n".join(f"{name:<{width}}  {value}" for name, value in lines))


def refuse_leaks(source, figures):
    """Raises an IsicError where an audit found patients or listed duplicates in two folds."""
    patients, pairs = figures["leaking_patients"], figures.get("leaking_pairs", 0)
    if patients or pairs:
        raise errors.IsicError(
            f"{source} leaks: {patients} patients and {pairs} listed duplicate pairs are in two folds; make other "
            "folds with --output and --duplicates"
        )


def parse(source, values):
    """Turns a column's text into folds.

    Args:
        source: Name of the column or file, for an error.
        values: Series of text.

    Returns:
        int64 `[n]`, -1 for -1 and for a blank.

    Raises:
        IsicError: A value is no whole number from -1 to 999999999.
    """
    whole = values.replace("", str(schema.UNKNOWN)).str.extract(r"^(\d{1,9}|-1)(?:\.0*)?$", expand=False)
    wrong = values[whole.isna()].tolist()
    if wrong:
        raise errors.IsicError(
            f"{source} must hold folds from 0, or -1 or a blank for none; not so {csv_tables.describe_first_cases(wrong)}"
        )
    return whole.astype("int64").to_numpy()


def read(path, names):
    """Reads a folds file, or a record set's index, and prints where its images are not those of the table.

    Args:
        path: CSV file with `image_name` and `fold`.
        names: Series of the table's image names.

    Returns:
        int64 `[n]`, the fold of each name; -1 where the file gives none.

    Raises:
        IsicError: The file lacks a column, lists an image twice, holds a fold that is no whole number, or none of
            the names.
    """
    given = csv_tables.read_table(path, ("image_name", "fold"))
    csv_tables.refuse_repeats(path, given, "list")
    folds = pd.Series(parse(f"the column fold of {path}", given["fold"]), given["image_name"])
    lacking, foreign = names[~names.isin(folds.index)], folds.index.difference(names, sort=False)
    if len(lacking) == len(names):
        raise errors.IsicError(
            f"{path} holds none of the table's {len(names)} images, its first is {foreign[0]!r}; check both paths"
        )
    for kind, cases in (("of the table are not in", lacking), ("that the table lacks are in", foreign)):
        if len(cases):
            _LOG.info(f"{len(cases)} images {kind} {path}: {csv_tables.describe_first_cases(cases.tolist())}")
    return folds.reindex(names, fill_value=schema.UNKNOWN).to_numpy()
