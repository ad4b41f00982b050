"""Computes figures of counts of images, such as those of a confusion matrix, on resampled patients."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import sparse

from isic_tf.metrics import cluster_bootstrap

# A block of resamples at a time has about this many counts: they fit into the processor's cache.
_BLOCK_COUNTS = 1_000_000
# From counts `[k, r]` of r resamples to figures `[..., r]`.
Figures = Callable[[np.ndarray], dict[str, np.ndarray]]


def count_images(images: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Counts the images of each kind.

    Args:
        images: Numbers `[k, n]`, how often each image counts as one of k kinds.

    Returns:
        float64 `[k, 1]`.
    """
    return np.asarray(images.sum(axis=1), np.float64).reshape(-1, 1)


def resample(
    images: np.ndarray | sparse.csr_array, patient: np.ndarray, figures: Figures, resamples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Computes figures of the counts of images on resamples of the patients.

    With the same patients and seed, the resamples are those of `cluster_bootstrap.resample`.

    Args:
        images: Numbers `[k, n]`, how often each image counts as one of k kinds.
        patient: int `[n]`, number of the patient of each image.
        figures: Function from the counts of r resamples, `[k, r]`, to a dict of figures, `[..., r]`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of the figures, float64 `[..., resamples]`.

    Examples:
        >>> images = np.array([[1, 0, 1], [0, 1, 0]])
        >>> shares = resample(images, np.arange(3), lambda counts: {"share": counts[0] / counts.sum(axis=0)}, 100)
        >>> shares["share"].shape, float(shares["share"].min()), float(shares["share"].max())
        ((100,), 0.0, 1.0)
    """
    codes, patients = pd.factorize(patient)
    of_patients = sparse.csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)), (len(codes), len(patients)))
    by_patient = sparse.csr_array(sparse.csr_array(images) @ of_patients)
    block = max(1, _BLOCK_COUNTS // max(by_patient.shape))
    rng = np.random.default_rng(seed)
    found = []
    for size in np.diff([*range(0, resamples, block), resamples]):
        weights = cluster_bootstrap.sample_patients(rng, len(patients), size, np.dtype(np.float64))
        found.append(figures(by_patient @ weights))
    return {name: np.concatenate([each[name] for each in found], axis=-1) for name in found[0]}
