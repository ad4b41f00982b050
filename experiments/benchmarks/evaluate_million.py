"""`isic_tf.evaluate` on a million images with complete metadata, in a process of its own: time and memory.

Also the time of the ROC AUC of one resample, against scikit-learn's on the images of the resample.
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

COUNT = 1_000_000
PATIENTS = 62_500
PREVALENCE = 0.0176
SITES = ("torso", "lower extremity", "upper extremity", "head/neck")
SIZES = np.array([[6000, 4000], [1872, 1053], [640, 480], [5184, 3456], [3264, 2448], [4288, 2848], [1024, 768]])


def write_tables(directory: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Writes random predictions, in random order, and labels with the competition's columns.

    Returns:
        Targets, scores and patients of all images, in the order of the labels.
    """
    rng = np.random.default_rng(0)
    patient = rng.integers(PATIENTS, size=COUNT)
    target = (rng.random(COUNT) < PREVALENCE).astype(int)
    names = [f"ISIC_{number:07d}" for number in range(COUNT)]
    sex = rng.choice(["male", "female", ""], COUNT, p=[0.5, 0.498, 0.002])
    age = rng.choice([*map(str, range(15, 90, 5)), ""], COUNT)
    site = rng.choice(SITES, COUNT)
    width, height = SIZES[rng.integers(len(SIZES), size=COUNT)].T
    labels = {
        "image_name": names,
        "patient_id": [f"IP_{number:07d}" for number in patient],
        "target": target,
        "sex": sex,
        "age_approx": age,
        "anatom_site_general_challenge": site,
        "diagnosis": "unknown",
        "width": width,
        "height": height,
    }
    pd.DataFrame(labels).to_csv(directory / "labels.csv", index=False)
    score = 1 / (1 + np.exp(4 - 1.8 * target - rng.normal(size=COUNT) - 0.5 * rng.normal(size=PATIENTS)[patient]))
    predictions = pd.DataFrame({"image_name": names, "prediction": score, "fold": patient % 5})
    predictions.iloc[rng.permutation(COUNT)].to_csv(directory / "predictions.csv", index=False)
    return target, score, patient


def evaluate(directory: pathlib.Path) -> None:
    command = [
        sys.executable,
        "-m",
        "isic_tf.evaluate",
        f"--predictions={directory / 'predictions.csv'}",
        f"--labels={directory / 'labels.csv'}",
        f"--output={directory / 'metrics.json'}",
    ]
    subprocess.run(command, check=True, cwd=common.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


def time_resample(target: np.ndarray, score: np.ndarray, patient: np.ndarray) -> tuple[float, float]:
    """Returns the seconds that one more resample takes, with scikit-learn and with isic-tf."""
    rng = np.random.default_rng(0)
    order = np.argsort(patient, kind="stable")
    ends = np.cumsum(np.bincount(patient, minlength=PATIENTS))
    rows = np.split(order, ends[:-1])

    def textbook() -> None:
        chosen = np.concatenate([rows[number] for number in rng.integers(PATIENTS, size=PATIENTS)])
        roc_auc_score(target[chosen], score[chosen])

    def resample(count: int) -> None:
        cluster_bootstrap.resample(target, score, patient, {"auc": cluster_bootstrap.roc_auc}, count)

    few, many = (min(common.measure_seconds(lambda: resample(count)) for _ in range(2)) for count in (30, 130))  # noqa: B023
    return common.measure_seconds(textbook), (many - few) / 100


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        directory = pathlib.Path(name)
        columns = write_tables(directory)
        wall_seconds = common.measure_seconds(lambda: evaluate(directory))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"evaluate on {COUNT:,} images: {wall_seconds:.1f} s (aim 30; CPU time "
        f"{usage.ru_utime + usage.ru_stime:.1f} s), {usage.ru_maxrss / 1e6:.2f} GB (aim 0.7)"
    )
    slow, fast = time_resample(*columns)
    times = f"scikit-learn {1000 * slow:.0f} ms, isic-tf {1000 * fast:.1f} ms"
    print(f"ROC AUC of a resample: {times}, {slow / fast:.0f} times as fast")


if __name__ == "__main__":
    main()
