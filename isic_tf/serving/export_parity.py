"""Compares the predictions of exported models with those of their run."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, roc, summaries

# Largest difference of a probability that rounding explains: between float32 programs of one network, or as intended.
TOLERANCES = {"saved_model": 1e-4, "patient": 1e-4, "onnx": 1e-4, "float32": 1e-4, "float16": 0.01, "int8": 0.1}
# Largest loss of ROC AUC that rounding explains.
_MAX_LOSS = 0.01
_INTERVAL = ["drop", "drop_low", "drop_high"]
_NO_INTERVAL = f"no interval: fewer than {cluster_bootstrap.MIN_PATIENTS} patients of a class"


def compare(rows: pd.DataFrame, reference: np.ndarray, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compares forms of a model with the run.

    Args:
        rows: See `exported_predictions.read_rows`.
        reference: float32 `[n]` or `[n, 1 + classes]`, see `exported_predictions.predict_run`.
        found: Dict from the name of a form to its predictions, of the same shape.

    Returns:
        DataFrame of the run, then one row per form: `form`, `images`, `difference` (the largest of a probability, of
        any class) and, with labels, `auc`, `drop` (loss of ROC AUC), and `drop_low` and `drop_high`, its 95 % interval
        over patients that are resampled for both alike; NaN where there are too few patients, see
        `cluster_bootstrap.describe_too_few`.
    """
    scores = np.stack([reference, *found.values()]).astype(np.float64)
    table = pd.DataFrame({"form": ["run", *found], "images": len(rows)})
    table["difference"] = np.abs(scores - scores[0]).reshape(len(scores), -1).max(axis=1)
    if scores.ndim > 2:
        scores = scores[..., 0]
    if "target" not in rows:
        return table
    malignant = rows["target"].to_numpy()
    table["auc"] = [roc.roc_auc(malignant, row) for row in scores]
    table["drop"] = table["auc"].iloc[0] - table["auc"]
    resampled = cluster_bootstrap.resample(
        malignant,
        scores,
        summaries.group_by_patient(rows),
        {"auc": cluster_bootstrap.roc_auc},
        cluster_bootstrap.affordable(malignant, 1000),
    )["auc"]
    intervals = [cluster_bootstrap.interval(resampled[0] - row) for row in resampled]
    table[_INTERVAL[1:]] = np.array(intervals, np.float64)
    return table


def find_faults(table: pd.DataFrame) -> list[str]:
    """Describes the forms that differ from the run by more than rounding explains.

    Args:
        table: See `compare`.

    Returns:
        List of texts, empty where all forms are close enough.
    """
    faults = []
    for row in table.iloc[1:].to_dict("records"):
        form = row["form"]
        if row["difference"] > TOLERANCES[form]:
            faults.append(
                f"a probability of {form} differs from the run by up to {row['difference']:.1e}, more than "
                f"{TOLERANCES[form]:g}"
            )
        if row.get("drop", 0) > _MAX_LOSS:
            faults.append(f"the ROC AUC of {form} is {row['drop']:.4f} below that of the run, more than {_MAX_LOSS:g}")
    return faults


def tabulate(sizes: Mapping[str, float], table: pd.DataFrame | None = None) -> list[list[str]]:
    """Formats a comparison as text.

    Args:
        sizes: Dict from the name of a form to its size in MB.
        table: See `compare`; None where nothing was compared.

    Returns:
        Rows of cells: the headings, then one row per form.
    """
    if table is None:
        table = pd.DataFrame({"form": list(sizes)})
    columns = {
        "form": list(table["form"]),
        "size, MB": [f"{sizes[form]:.1f}" if form in sizes else "" for form in table["form"]],
    }
    if "difference" in table:
        columns["largest difference"] = [f"{value:.1e}" for value in table["difference"]]
    if "auc" in table:
        columns["ROC AUC"] = [_format(value) for value in table["auc"]]
        columns["loss"] = [_format(value) for value in table["drop"]]
        columns["95 % interval of the loss"] = [_format_interval(*row) for row in table[_INTERVAL].to_numpy()]
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def _format(value: float) -> str:
    """Formats a figure; nothing where there is none, as for the images of some patients."""
    return f"{value:.4f}" if np.isfinite(value) else ""


def _format_interval(drop: float, low: float, high: float) -> str:
    if np.isfinite(low):
        return f"{low:.4f} to {high:.4f}"
    return _NO_INTERVAL if np.isfinite(drop) else ""
