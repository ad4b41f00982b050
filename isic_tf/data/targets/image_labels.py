"""Computes the labels of images that a network is trained on."""

import numpy as np
import pandas as pd

from isic_tf.data.targets import column_labels, diagnosis_classes
from isic_tf.data.targets.class_set import ClassSet, make_class_set, parse_target
from tfrecord_tools import errors


def label(rows: pd.DataFrame, target: str, classes: ClassSet | None = None) -> np.ndarray:
    """Computes the labels that a classifier is trained on.

    Args:
        rows: DataFrame of n images with `image_name` and `label` (probability of being malignant, 0 to 1); for
            `diagnosis` also with `diagnosis` (code of the schema, -1 where unknown), for columns of a table with those
            that `add_labels` adds.
        target: See `parse_target`.
        classes: The classes; None for those that the target has by itself.

    Returns:
        float32 `[n, 1]`, the probability; or `[n, classes]`, one-hot, or 0 or 1 for each of several labels. Of
        diagnoses exactly the malignant images are of a positive class.

    Raises:
        IsicError: A benign image has a positive diagnosis, or a malignant one another or none.

    Examples:
        >>> label(pd.DataFrame({"image_name": ["a", "b"], "label": [0.25, 1.0]}), "binary").tolist()
        [[0.25], [1.0]]
    """
    kind, _ = parse_target(target)
    if kind == "binary":
        return rows["label"].to_numpy(np.float32)[:, None]
    classes = classes or make_class_set(target)
    if kind != "diagnosis":
        return rows[column_labels.list_columns(classes)].to_numpy(np.float32)
    return np.eye(len(classes.names), dtype=np.float32)[_find_diagnosis_classes(rows, classes)]


def _find_diagnosis_classes(rows: pd.DataFrame, classes: ClassSet) -> np.ndarray:
    """Returns the place of the class of each image, int64 `[n]`."""
    malignant = rows["label"].to_numpy(np.float32)
    places = np.array(diagnosis_classes.list_codes())[rows["diagnosis"].to_numpy()]
    if diagnosis_classes.OTHER in classes.names:
        is_other = (places == classes.names.index(diagnosis_classes.UNKNOWN)) & (malignant > 0)
        places = np.where(is_other, classes.names.index(diagnosis_classes.OTHER), places)
    is_positive = np.isin(places, classes.places)
    # Where the further class is the only one, its name says which images it is for.
    diagnoses = [name for name in classes.positive if name != diagnosis_classes.OTHER]
    known = " or ".join(diagnoses or classes.positive)
    _refuse(rows, is_positive & (malignant == 0), f"diagnosed as {known} but labeled benign", classes)
    _refuse(rows, ~is_positive & (malignant > 0), f"labeled malignant but not diagnosed as {known}", classes)
    return places


def _refuse(rows: pd.DataFrame, wrong: np.ndarray, problem: str, classes: ClassSet) -> None:
    if wrong.any():
        counts = rows.loc[wrong, "diagnosis"].value_counts()
        found = ", ".join(f"{count} {diagnosis_classes.name_diagnosis(int(code))}" for code, count in counts.items())
        raise errors.IsicError(
            f"{wrong.sum()} images are {problem} (first: {rows.loc[wrong, 'image_name'].iloc[0]}), but {found}; "
            f"--target=diagnosis requires target=1 exactly for {classes.describe_positive()}, and records with the "
            "diagnosis codes of tfrecord_tools.schema; name other malignant classes in --positive_classes (among them "
            f"'{diagnosis_classes.OTHER}', a class of its own for malignant images whose diagnosis has none), correct "
            "the table and rebuild the records, or use --target=binary"
        )


def describe(rows: pd.DataFrame, target: str = "diagnosis", classes: ClassSet | None = None) -> str:
    """Describes how many images of each class every record set has.

    Args:
        rows: DataFrame with `source` and the columns of `label`.
        target: See `label`; not `binary`.
        classes: See `label`.

    Returns:
        A line per source; and one that lists the classes without an image, where there are any.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a"], "label": [1.0], "diagnosis": [2], "source": ["set"]})
        >>> describe(rows).splitlines()[0]
        '  set: 1 melanoma'
    """
    classes = classes or make_class_set(target)
    counts = pd.DataFrame(label(rows, target, classes), rows.index, columns=list(classes.names)).astype("int64")
    lines = []
    for source, part in counts.groupby(rows["source"], sort=False):
        texts = [f"{count} {name}" for name, count in part.sum().items() if count]
        lines.append(f"  {source}: {', '.join(texts)}")
    if target != "diagnosis":
        absent = [name for name, count in counts.sum().items() if not count]
        lines += [f"  note: no training image of {', '.join(absent)}"] if absent else []
    return "\n".join(lines)
