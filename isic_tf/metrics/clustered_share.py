"""A share of images, with an interval that takes account of patients with several images."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

_LEVEL = 0.95


def estimate(flags: np.ndarray, groups: Sequence[Hashable] | np.ndarray | pd.Series) -> dict[str, Any]:
    """Computes the share of flagged images, with its 95 % interval over patients.

    The interval is Wilson's (JASA 1927) for the number of independent images that would tell as much, with Student's
    quantile (Korn and Graubard, Survey Methodology 1998). Unlike one of resampled patients, it also holds where no
    image or every image is flagged; then each patient counts as one image.

    Args:
        flags: bool `[n]`, one image or more.
        groups: Patient of each image, any hashable values, `[n]`.

    Returns:
        Dict of `images`, `flagged`, `share` (from 0 to 1), `share_low` and `share_high`, None with fewer than two
        patients.

    Examples:
        >>> found = estimate(np.array([True, False, False, False]), ["p", "q", "r", "s"])
        >>> found["share"], round(found["share_low"], 3), round(found["share_high"], 3)
        (0.25, 0.016, 0.869)
    """
    codes, patients = pd.factorize(np.asarray(groups, dtype=object))
    images, flagged, count = len(flags), int(np.sum(flags)), len(patients)
    share = flagged / images
    found = {"images": images, "flagged": flagged, "share": share}
    if count < 2:
        return {**found, "share_low": None, "share_high": None}
    # Of a ratio: both the flagged and all images of a patient vary.
    residuals = np.bincount(codes, flags, count) - share * np.bincount(codes, minlength=count)
    variance = count / (count - 1) * float(residuals @ residuals) / images**2
    independent = min(share * (1 - share) / variance, images) if variance > 0 else count
    square = float(stats.t.ppf((1 + _LEVEL) / 2, count - 1)) ** 2
    middle = (share + square / (2 * independent)) / (1 + square / independent)
    half = np.sqrt(square * (share * (1 - share) / independent + square / (4 * independent**2)))
    half = float(half / (1 + square / independent))
    return {**found, "share_low": max(middle - half, 0.0), "share_high": min(middle + half, 1.0)}
