"""How often the 95 % interval of the ROC AUC over patients holds the true value, by the number of patients of a class.

Scores are binormal; a third or two thirds of their variance is the patient's. Malignant images are of few patients,
benign ones of as few, or of a hundred. `cluster_bootstrap.MIN_PATIENTS` is chosen by these figures.
"""

import sys

import common  # noqa: F401
import numpy as np
from scipy import stats

from isic_tf.metrics import cluster_bootstrap

PATIENTS = (2, 3, 5, 8, 10, 15, 20, 30)
MANY = 100
# Images of one class of a patient.
IMAGES = 3
# The intervals that the package does not give are measured too.
cluster_bootstrap.MIN_PATIENTS = 0
AUCS = (0.75, 0.9)
SHARES = (1 / 3, 2 / 3)
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
RESAMPLES = 500


def sample(rng: np.random.Generator, malignant: int, benign: int, auc: float, share: float) -> tuple[np.ndarray, ...]:
    """Samples targets, scores and patients; each patient has images of one class, so that `auc` is the true value."""
    patients = np.repeat(np.arange(malignant + benign), IMAGES)
    targets = (patients < malignant).astype(int)
    own = rng.normal(size=malignant + benign)[patients]
    noise = np.sqrt(share) * own + np.sqrt(1 - share) * rng.normal(size=len(patients))
    return targets, np.sqrt(2) * stats.norm.ppf(auc) * targets + noise, patients


def measure(malignant: int, benign: int, auc: float, share: float) -> tuple[float, float]:
    """Returns the share of intervals that hold the true value, and their mean width."""
    rng = np.random.default_rng(0)
    held = []
    widths = []
    for seed in range(REPEATS):
        targets, scores, patients = sample(rng, malignant, benign, auc, share)
        figures = {"auc": cluster_bootstrap.roc_auc}
        resampled = cluster_bootstrap.resample(targets, scores, patients, figures, RESAMPLES, seed)["auc"]
        low, high = np.nanquantile(resampled, [0.025, 0.975])
        held.append(low <= auc <= high)
        widths.append(high - low)
    return float(np.mean(held)), float(np.mean(widths))


for few in PATIENTS:
    for benign in (few, MANY):
        found = [measure(few, benign, auc, share) for auc in AUCS for share in SHARES]
        coverages = " ".join(f"{100 * held:5.1f}" for held, _ in found)
        widths = " ".join(f"{width:.2f}" for _, width in found)
        print(f"{few:2} malignant, {benign:3} benign patients: held {coverages} %, width {widths}", flush=True)
