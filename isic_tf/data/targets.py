"""What a network is trained to say: a malignant probability, or one of nine diagnoses from which it is read off."""

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


def count_outputs(target):
    """Counts the network's outputs."""
    return 1 if target == "binary" else len(CLASSES)


def label(rows, target):
    """Gives what a network should say.

    Args:
        rows: DataFrame with `image_name` and `label` (chance of being malignant, 0 to 1); for `diagnosis` with
            `diagnosis` too (the schema's code, -1 where unknown).
        target: One of `TARGETS`.

    Returns:
        float32 `[n, 1]` or `[n, 9]`. A malignant image is a melanoma, as the competition defines it.

    Raises:
        IsicError: A benign image is diagnosed as melanoma, or a malignant one as something else.
    """
    malignant = rows["label"].to_numpy(np.float32)
    if target == "binary":
        return malignant[:, None]
    groups = {name: place for place, names in enumerate(CLASSES.values()) for name in names}
    unknown = list(CLASSES).index("unknown")
    places = np.array([groups[name] for name in schema.CATEGORIES["diagnosis"]] + [unknown])
    # A code of -1 is the last place.
    found = places[rows["diagnosis"].to_numpy()]
    melanoma, other = found == MALIGNANT, (found != MALIGNANT) & (found != unknown)
    for wrong, text in (
        (melanoma & (malignant == 0), "diagnosed as melanoma and labelled benign"),
        (other & (malignant > 0), "labelled malignant and no melanoma by diagnosis"),
    ):
        if wrong.any():
            raise errors.IsicError(
                f"{wrong.sum()} images are {text}, {rows.loc[wrong, 'image_name'].iloc[0]} first; --target=diagnosis "
                "wants melanoma alone to be malignant, and records whose codes are those of tfrecord_tools.schema"
            )
    return np.eye(len(CLASSES), dtype=np.float32)[np.where(malignant > 0, MALIGNANT, found)]


def describe(rows):
    """Says in a line for each source how many images of each class there are.

    Args:
        rows: DataFrame with `source` and the columns of `label`.
    """
    places = pd.Series(label(rows, "diagnosis").argmax(axis=1), rows.index).groupby(rows["source"], sort=False)
    texts = {source: own.value_counts().sort_index() for source, own in places}
    return "\n".join(
        f"  {source}: " + ", ".join(f"{count} {list(CLASSES)[place]}" for place, count in counts.items())
        for source, counts in texts.items()
    )


def malignant_probability(labels):
    """Gives the malignant column of labels or probabilities, `[b]` of `[b, 1]` or `[b, 9]`."""
    return labels[:, 0 if labels.shape[-1] == 1 else MALIGNANT]


def mean_probability(logits):
    """Averages the malignant probabilities of several networks' logits, each `[b, 1]` or `[b, 9]`; float32 `[b]`."""
    return tf.add_n([tf.sigmoid(malignant_logit(each)) for each in logits]) / len(logits)


def malignant_logit(logits):
    """Gives the log odds of being malignant, float32 `[b]` of `[b, 1]` or `[b, 9]`."""
    if logits.shape[-1] == 1:
        return logits[:, 0]
    others = tf.concat([logits[:, :MALIGNANT], logits[:, MALIGNANT + 1 :]], axis=1)
    return logits[:, MALIGNANT] - tf.reduce_logsumexp(others, axis=1)
