"""Time and memory of `isic_tf.evaluate` on a million images with all metadata, in a process of its own; and of one
resample's ROC AUC against scikit-learn's on the resample's images.
"""

import contextlib
import io
import pathlib
import resource
import subprocess
import sys
import tempfile

import common
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from isic_tf.metrics import cluster_bootstrap

COUNT, PATIENTS = 1_000_000, 62_500
SIZES = np.array([[6000, 4000], [1872, 1053], [640, 480], [5184, 3456], [3264, 2448], [4288, 2848], [1024, 768]])


def make(folder):
    """Writes predictions in an order of their own, and labels with the competition's columns, 1.76 % malignant."""
    rng = np.random.default_rng(0)
    patient, target = rng.integers(PATIENTS, size=COUNT), (rng.random(COUNT) < 0.0176).astype(int)
    names = [f"ISIC_{number:07d}" for number in range(COUNT)]
    labels = {"image_name": names, "patient_id": [f"IP_{number:07d}" for number in patient], "target": target}
    labels["sex"] = rng.choice(["male", "female", ""], COUNT, p=[0.5, 0.498, 0.002])
    labels["age_approx"] = rng.choice([*map(str, range(15, 90, 5)), ""], COUNT)
    labels["anatom_site_general_challenge"] = rng.choice(
        ["torso", "lower extremity", "upper extremity", "head/neck"], COUNT
    )
    labels["diagnosis"], (labels["width"], labels["height"]) = "unknown", SIZES[rng.integers(len(SIZES), size=COUNT)].T
    pd.DataFrame(labels).to_csv(folder / "labels.csv", index=False)
    score = 1 / (1 + np.exp(4 - 1.8 * target - rng.normal(size=COUNT) - 0.5 * rng.normal(size=PATIENTS)[patient]))
    predictions = pd.DataFrame({"image_name": names, "prediction": score, "fold": patient % 5})
    predictions.iloc[rng.permutation(COUNT)].to_csv(folder / "predictions.csv", index=False)
    return target, score, patient


def evaluate(folder):
    flags = [f"--predictions={folder / 'predictions.csv'}", f"--labels={folder / 'labels.csv'}"]
    command = [sys.executable, "-m", "isic_tf.evaluate", *flags, f"--output={folder / 'metrics.json'}"]
    subprocess.run(command, check=True, cwd=common.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


def resample(target, score, patient):
    """Times what one more resample costs either way."""
    rng = np.random.default_rng(0)
    order = np.argsort(patient, kind="stable")
    ends = np.cumsum(np.bincount(patient, minlength=PATIENTS))
    rows = np.split(order, ends[:-1])

    def textbook():
        chosen = np.concatenate([rows[number] for number in rng.integers(PATIENTS, size=PATIENTS)])
        roc_auc_score(target[chosen], score[chosen])

    def ours(count):
        cluster_bootstrap.resample(target, score, patient, {"auc": cluster_bootstrap.roc_auc}, count)

    few, many = (min(common.seconds(lambda: ours(count)) for _ in range(2)) for count in (30, 130))  # noqa: B023
    return common.seconds(textbook), (many - few) / 100


with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
    folder = pathlib.Path(name)
    drawn = make(folder)
    taken = common.seconds(lambda: evaluate(folder))
used = resource.getrusage(resource.RUSAGE_CHILDREN)
peak, processor = used.ru_maxrss / 1e6, used.ru_utime + used.ru_stime
print(
    f"evaluate on {COUNT:,} images: {taken:.1f} s (aim 30; {processor:.1f} s of one processor), {peak:.2f} GB (aim 2)"
)
slow, fast = resample(*drawn)
times = f"scikit-learn {1000 * slow:.0f} ms, isic-tf {1000 * fast:.1f} ms"
print(f"ROC AUC of a resample: {times}, {slow / fast:.0f} times as fast")
