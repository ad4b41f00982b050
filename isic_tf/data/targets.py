"""Training targets: a malignant probability, or one of nine diagnoses from which that probability is derived."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tfrecord_tools import errors, schema

TARGETS = ("binary", "diagnosis")
# The nine classes of the challenge's first place (Ha, Liu and Liu 2020, arXiv:2010.05351), and the diagnoses of each.
CLASSES = {
    "nevus": ("nevus",),
    "melanoma": ("melanoma",),
    "benign keratosis": (
        "benign keratosis",
        "seborrheic keratosis",
        "lentigo NOS",
        "lichenoid keratosis",
        "solar lentigo",
    ),
    "basal cell carcinoma": ("basal cell carcinoma",),
    "actinic keratosis": ("actinic keratosis",),
    "squamous cell carcinoma": ("squamous cell carcinoma",),
    "dermatofibroma": ("dermatofibroma",),
    "vascular lesion": ("vascular lesion",),
    "unknown": ("unknown", "cafe-au-lait macule", "atypical melanocytic proliferation"),
}
MALIGNANT = list(CLASSES).index("melanoma")
_UNKNOWN = list(CLASSES).index("unknown")


def count_outputs(target: str) -> int:
    """Returns the number of outputs of a classifier.

    Args:
        target: One of `TARGETS`.

    Returns:
        1 for `binary`, 9 for `diagnosis`.
    """
    return 1 if target == "binary" else len(CLASSES)


def label(rows: pd.DataFrame, target: str) -> np.ndarray:
    """Computes the labels that a classifier is trained on.

    Args:
        rows: DataFrame of n images with `image_name` and `label` (probability of being malignant, 0 to 1); for
            `diagnosis` also with `diagnosis` (code of the schema, -1 where unknown).
        target: One of `TARGETS`.

    Returns:
        float32 `[n, 1]`, the probability; or `[n, 9]`, one-hot. In the latter exactly the malignant images are
        melanomas, as the competition defines it.

    Raises:
        IsicError: A benign image is diagnosed as melanoma, or a malignant one as something else or not at all.
    """
    malignant = rows["label"].to_numpy(np.float32)
    if target == "binary":
        return malignant[:, None]
    classes = _class_of_diagnosis()[rows["diagnosis"].to_numpy()]
    is_melanoma = classes == MALIGNANT
    _refuse(rows, is_melanoma & (malignant == 0), "diagnosed as melanoma but labeled benign")
    _refuse(rows, ~is_melanoma & (malignant > 0), "labeled malignant but not diagnosed as melanoma")
    return np.eye(len(CLASSES), dtype=np.float32)[classes]


def _class_of_diagnosis() -> np.ndarray:
    """Returns the class of each diagnosis code, int64; that of the code -1 is the last element."""
    classes = {name: place for place, names in enumerate(CLASSES.values()) for name in names}
    return np.array([classes[name] for name in schema.CATEGORIES["diagnosis"]] + [_UNKNOWN])


def _refuse(rows: pd.DataFrame, wrong: np.ndarray, problem: str) -> None:
    if wrong.any():
        counts = rows.loc[wrong, "diagnosis"].value_counts()
        found = ", ".join(f"{count} {_name_diagnosis(int(code))}" for code, count in counts.items())
        raise errors.IsicError(
            f"{wrong.sum()} images are {problem} (first: {rows.loc[wrong, 'image_name'].iloc[0]}), but {found}; "
            "--target=diagnosis requires target=1 exactly for melanoma, and records with the diagnosis codes of "
            "tfrecord_tools.schema; correct the table and rebuild the records, or use --target=binary"
        )


def _name_diagnosis(code: int) -> str:
    return "without a diagnosis of the schema" if code == schema.UNKNOWN else schema.CATEGORIES["diagnosis"][code]


def describe(rows: pd.DataFrame) -> str:
    """Describes how many images of each class every record set has.

    Args:
        rows: DataFrame with `source` and the columns of `label`.

    Returns:
        A line per source.
    """
    names = list(CLASSES)
    classes = pd.Series(label(rows, "diagnosis").argmax(axis=1), rows.index)
    lines = []
    for source, part in classes.groupby(rows["source"], sort=False):
        counts = part.value_counts().sort_index()
        texts = [f"{count} {names[place]}" for place, count in counts.items()]
        lines.append(f"  {source}: {', '.join(texts)}")
    return "\n".join(lines)


def malignant_probability(labels: tf.Tensor) -> tf.Tensor:
    """Selects the malignant probability.

    Args:
        labels: Labels or probabilities, float `[b, 1]` or `[b, 9]`.

    Returns:
        float `[b]`, 0 to 1.
    """
    return labels[:, 0 if labels.shape[-1] == 1 else MALIGNANT]


def mean_probability(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """Averages the malignant probabilities of several classifiers.

    Args:
        logits: Logits of each classifier, float32 `[b, 1]` or `[b, 9]`.

    Returns:
        float32 `[b]`, 0 to 1.
    """
    return tf.add_n([tf.sigmoid(malignant_logit(each)) for each in logits]) / len(logits)


def malignant_logit(logits: tf.Tensor) -> tf.Tensor:
    """Computes the log odds of being malignant.

    Args:
        logits: float32 `[b, 1]`, of a sigmoid, or `[b, 9]`, of a softmax.

    Returns:
        float32 `[b]`, unbounded; its sigmoid is the malignant probability.
    """
    if logits.shape[-1] == 1:
        return logits[:, 0]
    others = tf.concat([logits[:, :MALIGNANT], logits[:, MALIGNANT + 1 :]], axis=1)
    return logits[:, MALIGNANT] - tf.reduce_logsumexp(others, axis=1)
