"""Joins the predictions of a lesion's images, as the MILK10k challenge asks for one prediction per lesion."""

from collections.abc import Sequence

import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import identity

JOINS = ("mean", "max")
LESION = "lesion"


def join_lesions(
    table: pd.DataFrame, columns: Sequence[str], how: str = "mean", equal: Sequence[str] = ()
) -> pd.DataFrame:
    """Joins the rows of a lesion's images.

    Args:
        table: DataFrame of images with `image_name`, `lesion_id` (text, "" where unknown), perhaps `patient_id`, and
            the columns.
        columns: Columns of predictions (float) to join.
        how: `mean` or `max`.
        equal: Columns that a lesion's images must agree in, such as `target`.

    Returns:
        DataFrame with a row for each lesion, and for each image without one, in the order of their first images: the
        columns joined, the others those of the first image; `lesion` is the key of the lesion, "" without one, and
        `num_images` counts its images.

    Raises:
        IsicError: No image has a lesion, or the images of a lesion differ in a column of `equal`.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["a", "b", "c"], "patient_id": "", "lesion_id": ["l", "m", "l"]})
        >>> joined = join_lesions(table.assign(prediction=[0.25, 0.5, 0.75]), ["prediction"])
        >>> joined[["lesion", "prediction", "num_images"]].values.tolist()
        [['l', 0.5, 2], ['m', 0.5, 1]]
    """
    if "lesion_id" not in table or (table["lesion_id"] == "").all():
        raise errors.IsicError(
            "expected lesion_id for the images to join them by lesion, got none; add a table with a column lesion_id, "
            "or predict and evaluate by image"
        )
    lesions = _number_lesions(table)
    keys = lesions.where(lesions != "", "image " + table["image_name"])
    groups = table.groupby(keys, sort=False)
    for column in equal:
        differs = groups[column].nunique(dropna=False) > 1
        if differs.any():
            raise errors.IsicError(
                f"expected one {column} for all images of a lesion, but {differs.sum()} lesions have several (first: "
                f"{differs.idxmax()}); correct the labels, or evaluate by image"
            )
    # Not `first`, which skips missing values.
    joined = table[~keys.duplicated()].set_index(keys[~keys.duplicated()])
    joined[list(columns)] = groups[list(columns)].agg(how)
    joined[LESION] = lesions[~keys.duplicated()].to_numpy()
    joined["num_images"] = groups.size()
    return joined.reset_index(drop=True)


def _number_lesions(table: pd.DataFrame) -> pd.Series:
    """Returns a key for the lesion of each image, "" where unknown; with the patient where lesions are numbered."""
    lesions = identity.lesion_keys(table)
    if "patient_id" not in table:
        return lesions
    numbers = identity.person_keys(table["lesion_id"])
    within = identity.person_keys(table["patient_id"]) + "/" + numbers
    return lesions.where((lesions != "") | (numbers == ""), within)
