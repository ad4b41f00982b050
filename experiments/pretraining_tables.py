"""Writes the tables from which the pre-training set of experiments/LOG.md is built; copies no images.

python experiments/pretraining_tables.py REAL_DATA pairs.csv OUTPUT

REAL_DATA holds the directories ham10000, isic2017 and isic2020. pairs.csv (see `tfrecord_tools.duplicates`) lists
images of the same photograph. OUTPUT receives ham10000.csv, and isic2017.csv with folds.csv, in which the validation
images are fold 0. Other images that duplicate a validation image, or one of the 384 images of ISIC 2020, are left out,
so that no evaluated image is trained on.
"""

import os
import sys

import pandas as pd

from tfrecord_tools.io import duplicate_pairs


def main(real_data: str, pairs: str, output: str) -> None:
    """Writes the three tables."""
    as_text = {"dtype": str, "keep_default_na": False}
    ham10000 = pd.read_csv(f"{real_data}/ham10000/train.csv", **as_text)
    columns = {
        "lesion_id": "patient_id",
        "anatom_site_general": "anatom_site_general_challenge",
        "diagnosis_code": "diagnosis",
    }
    ham10000 = ham10000.rename(columns=columns)
    validation = pd.read_csv(f"{real_data}/isic2017/val.csv", **as_text).assign(fold=0)
    training = pd.read_csv(f"{real_data}/isic2017/train.csv", **as_text).assign(fold=1)
    isic2017 = pd.concat([validation, training]).assign(patient_id="")
    isic2020 = pd.read_csv(f"{real_data}/isic2020/train_512.csv", **as_text)
    evaluated = {*validation["image_name"], *isic2020["image_name"]}
    duplicates = duplicate_pairs.find_linked_names(evaluated, duplicate_pairs.read_pairs(pairs)) - evaluated
    os.makedirs(output, exist_ok=True)
    for name, table in (("ham10000", ham10000), ("isic2017", isic2017)):
        kept = table[~table["image_name"].isin(duplicates)]
        print(f"{name}: {len(kept)} images, {len(table) - len(kept)} left out as duplicates")
        kept.drop(columns="fold", errors="ignore").to_csv(f"{output}/{name}.csv", index=False)
        if name == "isic2017":
            kept[["image_name", "fold"]].to_csv(f"{output}/folds.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
