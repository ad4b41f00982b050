"""Writes the tables from which the pre-training set of experiments/LOG.md is built, and copies nothing else.

python experiments/pretraining_tables.py REAL_DATA pairs.csv OUTPUT

REAL_DATA has the folders ham10000, isic2017 and isic2020; pairs.csv (see `tfrecord_tools.duplicates`) lists photographs
that are in two of them. OUTPUT gets ham10000.csv, and isic2017.csv with folds.csv: its validation images are fold 0.
Images that also show a validation image or one of the 384 of ISIC 2020 are left out, so that neither is seen in
training.
"""

import os
import sys

import pandas as pd

from isic_tf.data import fold_split
from tfrecord_tools.io import csv_tables


def main(real_data, pairs, output):
    """Writes the three tables."""
    read = {"dtype": str, "keep_default_na": False}
    ham = pd.read_csv(f"{real_data}/ham10000/train.csv", **read)
    names = {"lesion_id": "patient_id", "anatom_site_general": "anatom_site_general_challenge"}
    ham = ham.rename(columns=names | {"diagnosis_code": "diagnosis"})
    parts = [pd.read_csv(f"{real_data}/isic2017/{part}.csv", **read).assign(part=part) for part in ("val", "train")]
    isic2017 = pd.concat(parts).assign(patient_id="", fold=lambda table: (table["part"] == "train").astype(int))
    judged = {*parts[0]["image_name"], *pd.read_csv(f"{real_data}/isic2020/train_512.csv", **read)["image_name"]}
    shown = fold_split.find_linked(judged, csv_tables.read_pairs(pairs)) - judged
    os.makedirs(output, exist_ok=True)
    for name, table in (("ham10000", ham), ("isic2017", isic2017)):
        kept = table[~table["image_name"].isin(shown)]
        print(f"{name}: {len(kept)} images, {len(table) - len(kept)} left out")
        kept.drop(columns=["part", "fold"], errors="ignore").to_csv(f"{output}/{name}.csv", index=False)
        if name == "isic2017":
            kept[["image_name", "fold"]].to_csv(f"{output}/folds.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
