"""Makes the probabilities of classes fit predictions that patient context or a calibration corrected."""

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.data import targets


def rescale_classes(table: pd.DataFrame, uncorrected: pd.Series, classes: targets.ClassSet) -> pd.DataFrame:
    """Rescales the probabilities of classes where the prediction was corrected, see `targets.rescale`.

    Args:
        table: DataFrame of `prediction` (float64, as corrected) and the columns of `class_columns`.
        uncorrected: float64 `[n]`, the predictions that the probabilities belong to.
        classes: The classes; where there are none, nothing is changed.

    Returns:
        The table with these probabilities; those of other rows stay as they are to the last digit.

    Examples:
        >>> table = pd.DataFrame({"prediction": [0.5, 0.25], "probability_MEL": 0.25, "probability_NV": 0.75})
        >>> classes = targets.ClassSet(("MEL", "NV"), ("MEL",))
        >>> rescale_classes(table, pd.Series([0.25, 0.25]), classes)["probability_NV"].tolist()
        [0.5, 0.75]
    """
    changed = np.flatnonzero(table["prediction"].to_numpy() != uncorrected.to_numpy())
    if not classes.names or not len(changed):
        return table
    columns = class_columns.list_columns(classes.names)
    probabilities = table[columns].to_numpy(np.float64, copy=True)
    single = table["prediction"].to_numpy()[changed]
    probabilities[changed] = targets.rescale(probabilities[changed], single, classes)
    return table.assign(**dict(zip(columns, probabilities.T, strict=True)))
