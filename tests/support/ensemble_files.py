"""Out-of-fold and test predictions of synthetic models."""

import numpy as np
import pandas as pd


def make_runs(folder, num_images=400, signals=(1.5, 1.0, 0.0), malignant=0.3, seed=0):
    """Writes the out-of-fold and test files of several models, each in an order of its own, and the labels."""
    rng = np.random.default_rng(seed)
    paths = {"oof": [], "predictions": []}
    targets = {kind: (rng.random(num_images) < malignant).astype(int) for kind in paths}
    patients = np.arange(num_images) // 4
    for number, signal in enumerate(signals):
        for kind, found in paths.items():
            logits = signal * targets[kind] + rng.normal(0, 1, num_images)
            table = {"image_name": [f"{kind}{image}" for image in range(num_images)]}
            table["prediction"] = 1 / (1 + np.exp(-logits))
            if kind == "oof":
                table |= {"fold": patients % 5, "target": targets[kind]}
            path = folder / f"{kind}{number}.csv"
            pd.DataFrame(table).sample(frac=1, random_state=number).to_csv(path, index=False)
            found.append(str(path))
    names = [f"oof{image}" for image in range(num_images)]
    table = {"image_name": names, "patient_id": [f"p{patient}" for patient in patients], "target": targets["oof"]}
    pd.DataFrame(table).to_csv(folder / "labels.csv", index=False)
    return paths | {"labels": str(folder / "labels.csv"), "targets": targets["predictions"]}
